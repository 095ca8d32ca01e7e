"""System calls by name, number and reason: what a sandbox may call, what is looked at first, what is refused.

One token is ``name:number on x86_64:number on aarch64`` (``-``: the architecture has no such call). A call that is in
no table is refused with EPERM, a call newer than the tables with ENOSYS, so that programs fall back to an older one.
Source: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux 6.12.
"""

from __future__ import annotations

from typing import Final

NEWEST: Final = 462  # the highest number the tables know; the numbers are the same everywhere since 424

# reason → calls that are allowed whatever their arguments are
ALLOWED: Final = {
    "files and directories: reached through the instance's own mount namespace": """
        read:0:63 write:1:64 open:2:- close:3:57 stat:4:- fstat:5:80 lstat:6:- newfstatat:262:79 statx:332:291
        access:21:- faccessat:269:48 faccessat2:439:439 openat:257:56 openat2:437:437 creat:85:- lseek:8:62
        pread64:17:67 pwrite64:18:68 readv:19:65 writev:20:66 preadv:295:69 pwritev:296:70 preadv2:327:286
        pwritev2:328:287 sendfile:40:71 copy_file_range:326:285 splice:275:76 tee:276:77 dup:32:23 dup2:33:-
        dup3:292:24 fcntl:72:25 flock:73:32 fsync:74:82 fdatasync:75:83 syncfs:306:267 sync_file_range:277:84
        truncate:76:45 ftruncate:77:46 fallocate:285:47 fadvise64:221:223 readahead:187:213 getdents:78:-
        getdents64:217:61 getcwd:79:17 chdir:80:49 fchdir:81:50 rename:82:- renameat:264:38 renameat2:316:276
        mkdir:83:- mkdirat:258:34 rmdir:84:- link:86:- linkat:265:37 unlink:87:- unlinkat:263:35 symlink:88:-
        symlinkat:266:36 readlink:89:- readlinkat:267:78 mknod:133:- mknodat:259:33 chmod:90:- fchmod:91:52
        fchmodat:268:53 fchmodat2:452:452 chown:92:- fchown:93:55 lchown:94:- fchownat:260:54 umask:95:166
        utime:132:- utimes:235:- utimensat:280:88 futimesat:261:- statfs:137:43 fstatfs:138:44 getxattr:191:8
        lgetxattr:192:9 fgetxattr:193:10 listxattr:194:11 llistxattr:195:12 flistxattr:196:13 setxattr:188:5
        lsetxattr:189:6 fsetxattr:190:7 removexattr:197:14 lremovexattr:198:15 fremovexattr:199:16
        inotify_init:253:- inotify_init1:294:26 inotify_add_watch:254:27 inotify_rm_watch:255:28
        memfd_create:319:279 close_range:436:436 pipe:22:- pipe2:293:59
    """,
    "memory: bounded by the instance's own limit": """
        mmap:9:222 munmap:11:215 mprotect:10:226 mremap:25:216 msync:26:227 mincore:27:232 madvise:28:233
        brk:12:214 mlock:149:228 mlock2:325:284 munlock:150:229 mlockall:151:230 munlockall:152:231
        membarrier:324:283 pkey_alloc:330:289 pkey_free:331:290 pkey_mprotect:329:288 mseal:462:462
        map_shadow_stack:453:453 get_mempolicy:239:236
    """,
    "waiting and events": """
        poll:7:- ppoll:271:73 select:23:- pselect6:270:72 epoll_create:213:- epoll_create1:291:20
        epoll_ctl:233:21 epoll_wait:232:- epoll_pwait:281:22 epoll_pwait2:441:441 eventfd:284:- eventfd2:290:19
        signalfd:282:- signalfd4:289:74 timerfd_create:283:85 timerfd_settime:286:86 timerfd_gettime:287:87
        futex:202:98 futex_waitv:449:449 futex_wake:454:454 futex_wait:455:455 futex_requeue:456:456
        get_robust_list:274:100 set_robust_list:273:99 rseq:334:293 restart_syscall:219:128 pause:34:-
    """,
    "time: reading it and sleeping, never setting it": """
        clock_gettime:228:113 clock_getres:229:114 clock_nanosleep:230:115 nanosleep:35:101 gettimeofday:96:169
        time:201:- times:100:153 alarm:37:- getitimer:36:102 setitimer:38:103 timer_create:222:107
        timer_settime:223:110 timer_gettime:224:108 timer_getoverrun:225:109 timer_delete:226:111
    """,
    "signals: reach only the instance's own pid namespace": """
        rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136
        rt_sigsuspend:130:133 rt_sigtimedwait:128:137 rt_sigqueueinfo:129:138 rt_tgsigqueueinfo:297:240
        sigaltstack:131:132 kill:62:129 tkill:200:130 tgkill:234:131 pidfd_send_signal:424:424
    """,
    "processes and threads: bounded by the pids limit": """
        fork:57:- vfork:58:- execve:59:221 execveat:322:281 exit:60:93 exit_group:231:94 wait4:61:260
        waitid:247:95 pidfd_open:434:434 set_tid_address:218:96 getpid:39:172 getppid:110:173 gettid:186:178
        getpgid:121:155 getpgrp:111:- getsid:124:156 setpgid:109:154 setsid:112:157 sched_yield:24:124
        sched_getaffinity:204:123 sched_setaffinity:203:122 sched_getparam:143:121 sched_setparam:142:118
        sched_getscheduler:145:120 sched_setscheduler:144:119 sched_getattr:315:275 sched_setattr:314:274
        sched_get_priority_max:146:125 sched_get_priority_min:147:126 sched_rr_get_interval:148:127
        getpriority:140:141 setpriority:141:140 ioprio_get:252:31 ioprio_set:251:30 getcpu:309:168
        arch_prctl:158:-
    """,
    "identity and limits: without capabilities these can only give rights away": """
        getuid:102:174 geteuid:107:175 getgid:104:176 getegid:108:177 getresuid:118:148 getresgid:120:150
        getgroups:115:158 setuid:105:146 setgid:106:144 setreuid:113:145 setregid:114:143 setresuid:117:147
        setresgid:119:149 setfsuid:122:151 setfsgid:123:152 setgroups:116:159 capget:125:90 capset:126:91
        getrlimit:97:163 setrlimit:160:164 prlimit64:302:261 getrusage:98:165
    """,
    "facts about the system": """
        uname:63:160 sysinfo:99:179 getrandom:318:278
    """,
    "sockets that exist already": """
        accept:43:202 accept4:288:242 getsockname:51:204 getpeername:52:205 getsockopt:55:209 recvfrom:45:207
        recvmsg:47:212 recvmmsg:299:243 shutdown:48:210
    """,
}

# reason → calls whose arguments decide (the rules are in seccomp.py)
EXAMINED: Final = {
    "no new namespaces; clone3 hides its flags behind a pointer, and glibc falls back to clone": """
        clone:56:220 clone3:435:435
    """,
    "no character pushed into a terminal (TIOCSTI, TIOCLINUX), no line discipline": """
        ioctl:16:29
    """,
    "a list of harmless options": """
        prctl:157:167
    """,
    "Linux only, address randomisation stays on": """
        personality:135:92
    """,
    "families and types that the broker and the own network namespace understand": """
        socket:41:198 socketpair:53:199
    """,
    "no source routes, packet filters, firewall tables": """
        setsockopt:54:208
    """,
    "under `egress` the broker makes these calls instead (egress.py)": """
        connect:42:203 bind:49:200 listen:50:201
    """,
    "under `egress` no connecting by sending (MSG_FASTOPEN)": """
        sendto:44:206 sendmsg:46:211 sendmmsg:307:269
    """,
}

# reason → calls that are refused; being in no table would have the same effect
REFUSED: Final = {
    "changes what the file system looks like": """
        mount:165:40 umount2:166:39 pivot_root:155:41 chroot:161:51 fsopen:430:430 fsconfig:431:431
        fsmount:432:432 fspick:433:433 open_tree:428:428 move_mount:429:429 mount_setattr:442:442
    """,
    "makes or enters namespaces": """
        unshare:272:97 setns:308:268
    """,
    "looks into or controls other processes": """
        ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271 pidfd_getfd:438:438 kcmp:312:272
        process_madvise:440:440
    """,
    "large kernel surface that functions have no use for": """
        bpf:321:280 perf_event_open:298:241 userfaultfd:323:282 io_uring_setup:425:425 io_uring_enter:426:426
        io_uring_register:427:427 io_setup:206:0 keyctl:250:219 add_key:248:217 request_key:249:218
        vmsplice:278:75 fanotify_init:300:262 lookup_dcookie:212:18 memfd_secret:447:447 move_pages:279:239
        migrate_pages:256:238 mbind:237:235 set_mempolicy:238:237 modify_ldt:154:- shmget:29:194 msgget:68:186
        semget:64:190 seccomp:317:277 landlock_create_ruleset:444:444 landlock_restrict_self:446:446
    """,
    "opens files past the mount namespace": """
        open_by_handle_at:304:265 name_to_handle_at:303:264
    """,
    "belongs to the machine's operator": """
        kexec_load:246:104 kexec_file_load:320:294 init_module:175:105 finit_module:313:273
        delete_module:176:106 reboot:169:142 swapon:167:224 swapoff:168:225 acct:163:89 syslog:103:116
        sethostname:170:161 setdomainname:171:162 settimeofday:164:170 clock_settime:227:112 adjtimex:159:171
        clock_adjtime:305:266 iopl:172:- ioperm:173:- quotactl:179:60 vhangup:153:58 nfsservctl:180:42
        sync:162:81
    """,
}


def numbers(groups: dict[str, str], machine: str) -> dict[str, int]:
    """Return name → number on `machine` (`x86_64` or `aarch64`) for all calls of a table."""
    column = 1 if machine == "x86_64" else 2
    tokens = (token.split(":") for text in groups.values() for token in text.split())
    return {token[0]: int(token[column]) for token in tokens if token[column] != "-"}
