"""The system-call filter of a sandbox: an allow-list in classic BPF, assembled once, installed with one call.

Everything not allowed answers EPERM; nothing ever kills. `clone3` answers ENOSYS, because glibc falls back to `clone`
only then. Calls of the 32-bit and x32 tables are refused. Under `egress` the kernel hands `connect`, `bind` and
`listen` to the broker, which makes them on the caller's behalf (docs/decisions/0002-egress.md).

Source: Documentation/userspace-api/seccomp_filter.rst and landlock.rst of Linux 6.12.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Iterable
from struct import Struct
from typing import Final

from wispd.adapters.engine.process import syscalls

Code = list[tuple[int, int, int, int]]

_MACHINES: Final = {"x86_64": (0xC000_003E, 317), "aarch64": (0xC000_00B7, 277)}  # audit name, number of seccomp()
_INSTRUCTION: Final = Struct("<HBBI")
_LOAD, _AND, _JUMP, _JUMP_EQUAL, _JUMP_FROM, _JUMP_BITS, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
_X32_BIT: Final = 0x4000_0000

_ALLOW: Final = 0x7FFF_0000
_ASK_BROKER: Final = 0x7FC0_0000
_ERROR: Final = 0x0005_0000
_REFUSE: Final = _ERROR | errno.EPERM

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; clone() can't ask for NEWTIME.
NAMESPACE_FLAGS: Final = 0x7E02_0000
_MSG_FASTOPEN: Final = 0x2000_0000
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16

# TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD, and SIOCGSKNS, which gives away a network namespace
_IOCTLS_REFUSED: Final = (0x5412, 0x541C, 0x541D, 0x5423, 0x894C)
# death signal, dumpable, keepcaps (read), name, seccomp (read), bounding set (read), timer slack, subreaper,
# no_new_privs, thread address, transparent huge pages, ambient set, names of mappings
_PRCTLS: Final = (1, 2, 3, 4, 7, 15, 16, 21, 23, 29, 30, 36, 37, 38, 39, 40, 41, 42, 47, 0x5356_4D41)
_SET_OPTIONS_REFUSED: Final = {
    0: (4, 41, 48, 64, 65, 66, 96, 97, 98),  # IP: OPTIONS, MSFILTER, MCAST_MSFILTER, iptables, arptables
    1: (26, 50, 51, 52, 71),  # SOCKET: packet filters and programs
    6: (19, 31, 33),  # TCP: REPAIR, upper-layer protocols, FASTOPEN_KEY
    41: (5, 6, 48, 54, 55, 57, 59, 64, 65),  # IPv6: routing and hop headers, MCAST_MSFILTER, ip6tables
}
# What a layer's zygote still has to do for its members after it has run foreign code
_ZYGOTE_CALLS: Final = frozenset(
    {"mount", "umount2", "open_tree", "move_mount", "mount_setattr", "unshare", "setns", "sethostname"}
    | {"seccomp", "landlock_create_ruleset", "landlock_restrict_self"}
)
_BROKERED: Final = ("connect", "bind", "listen")
_SEND_FLAGS_AT: Final = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}

_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_NR_LANDLOCK_CREATE, _NR_LANDLOCK_RESTRICT = 444, 446
_LANDLOCK_TCP: Final = 3  # LANDLOCK_ACCESS_NET_BIND_TCP | CONNECT_TCP
LANDLOCK_TCP_ABI: Final = 4  # Linux 6.7
_PR_SET_NO_NEW_PRIVS: Final = 38


def _if_equal(value: int, then: Code) -> Code:
    return [(_JUMP_EQUAL, 0, len(then), value), *then]


def _return(answer: int) -> Code:
    return [(_RETURN, 0, 0, answer)]


def _argument(index: int) -> Code:
    """Load the low half of an argument; the kernel looks at no more of those that are `int` or `unsigned int`."""
    return [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index)]


def _refuse_any(index: int, values: Iterable[int]) -> Code:
    refusals = [step for value in values for step in _if_equal(value, _return(_REFUSE))]
    return [*_argument(index), *refusals, *_return(_ALLOW)]


def _allow_only(index: int, values: Iterable[int], otherwise: int = _REFUSE) -> Code:
    permits = [step for value in values for step in _if_equal(value, _return(_ALLOW))]
    return [*_argument(index), *permits, *_return(otherwise)]


def _refuse_bits(index: int, mask: int) -> Code:
    return [*_argument(index), (_JUMP_BITS, 0, 1, mask), *_return(_REFUSE), *_return(_ALLOW)]


def _socket_rule() -> Code:
    """Unix sockets; TCP and UDP over IPv4 and IPv6; of netlink the routing family, which getaddrinfo reads."""
    protocol = _allow_only(2, (0, 6, 17), _ERROR | errno.EPROTONOSUPPORT)
    stream_or_datagram: Code = [
        *_argument(1),
        (_AND, 0, 0, 0xF),
        (_JUMP_EQUAL, 2, 0, 1),
        (_JUMP_EQUAL, 1, 0, 2),
        *_return(_REFUSE),
        *protocol,
    ]
    return [
        *_argument(0),
        *_if_equal(_UNIX, _return(_ALLOW)),
        *_if_equal(_NETLINK, _allow_only(2, (0,))),
        (_JUMP_EQUAL, 2, 0, _INET),
        (_JUMP_EQUAL, 1, 0, _INET6),
        *_return(_ERROR | errno.EAFNOSUPPORT),
        *stream_or_datagram,
    ]


def _set_option_rule() -> Code:
    code = _argument(1)
    for level, names in _SET_OPTIONS_REFUSED.items():
        code += _if_equal(level, _refuse_any(2, names))
    return [*code, *_return(_ALLOW)]


def _rules(network: str) -> dict[str, Code]:
    """Return call → what to do with it. Examined calls that no rule names are allowed."""
    rules: dict[str, Code] = {}
    if network == "egress":
        rules |= {name: _refuse_bits(index, _MSG_FASTOPEN) for name, index in _SEND_FLAGS_AT.items()}
        rules |= {name: _return(_ASK_BROKER) for name in _BROKERED}
    return rules | {
        "ioctl": _refuse_any(1, _IOCTLS_REFUSED),
        "setsockopt": _set_option_rule(),
        "socket": _socket_rule(),
        "socketpair": _allow_only(0, (_UNIX,), _ERROR | errno.EAFNOSUPPORT),
        "clone": _refuse_bits(0, NAMESPACE_FLAGS),
        "clone3": _return(_ERROR | errno.ENOSYS),
        "prctl": _allow_only(0, _PRCTLS),
        "personality": _allow_only(0, (0, 0xFFFF_FFFF)),  # Linux itself, and asking
    }


def _segments(plain: set[int], rules: dict[int, Code]) -> list[tuple[int, Code]]:
    """Return (first number, what to do from there on), ascending, neighbours different; starts at number 0."""
    segments: list[tuple[int, Code]] = []
    for number in range(syscalls.NEWEST + 1):
        code = rules.get(number) or _return(_ALLOW if number in plain else _REFUSE)
        if not segments or segments[-1][1] != code:
            segments.append((number, code))
    return [*segments, (syscalls.NEWEST + 1, _return(_ERROR | errno.ENOSYS)), (_X32_BIT, _return(_REFUSE))]


def _search(segments: list[tuple[int, Code]]) -> Code:
    """Return the binary search for the segment of the loaded number.

    Few steps for every number: the kernel runs the whole program once per call of its table when it is installed.
    """
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    below, above = _search(segments[:middle]), _search(segments[middle:])
    if len(below) <= 255:
        return [(_JUMP_FROM, len(below), 0, segments[middle][0]), *below, *above]
    return [(_JUMP_FROM, 0, 1, segments[middle][0]), (_JUMP, 0, 0, len(below)), *below, *above]


def assemble(network: str, machine: str) -> bytes:
    """Return the filter for a network mode (`egress`, `none`, `private`) and a machine (`x86_64`, `aarch64`).

    Plain calls depend on nothing but their number, so the kernel (5.11 and later) answers them from a bitmap.
    """
    number_of = syscalls.numbers(syscalls.EXAMINED, machine)
    rules = _rules(network)
    plain = set(syscalls.numbers(syscalls.ALLOWED, machine).values())
    plain |= {number for name, number in number_of.items() if name not in rules}
    code: Code = [(_LOAD, 0, 0, _MACHINE_AT), (_JUMP_EQUAL, 1, 0, _MACHINES[machine][0]), *_return(_REFUSE)]
    code += [(_LOAD, 0, 0, _NUMBER_AT)]
    code += _search(_segments(plain, {number_of[name]: rule for name, rule in rules.items()}))
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


def assemble_guard(machine: str) -> bytes:
    """Return the filter of a layer's zygote: everything but what neither it nor its members ever need."""
    refused = {
        name: n for name, n in syscalls.numbers(syscalls.REFUSED, machine).items() if name not in _ZYGOTE_CALLS
    }
    rules = {number: _return(_REFUSE) for number in refused.values()}
    number_of = syscalls.numbers(syscalls.EXAMINED, machine)
    rules |= {number_of[name]: _refuse_bits(index, _MSG_FASTOPEN) for name, index in _SEND_FLAGS_AT.items()}
    code: Code = [(_LOAD, 0, 0, _MACHINE_AT), (_JUMP_EQUAL, 1, 0, _MACHINES[machine][0]), *_return(_REFUSE)]
    code += [(_LOAD, 0, 0, _NUMBER_AT), *_search(_segments(set(range(syscalls.NEWEST + 1)), rules))]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64)]


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_MACHINE: Final = platform.machine()
_NR_SECCOMP: Final = _MACHINES.get(_MACHINE, (0, -1))[1]
# Made when the zygote imports this file, so that its children write no page for them.
_PROGRAMS: Final = {
    network: _Program(len(code) // _INSTRUCTION.size, code)
    for network in ("egress", "none", "private", "guard")
    if _MACHINE in _MACHINES
    for code in [assemble(network, _MACHINE) if network != "guard" else assemble_guard(_MACHINE)]
}


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"system call {number}: {os.strerror(code)}")
    return result


def landlock_abi() -> int:
    """Return the version of Landlock this kernel enforces, 0 without it."""
    try:
        return _call(_NR_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


_LANDLOCK: Final = _MACHINE in _MACHINES and landlock_abi() >= LANDLOCK_TCP_ABI


def install(network: str) -> int | None:
    """Filter the calling thread for good, with everything it will fork; return the broker's listener for `egress`.

    The listener is a close-on-exec descriptor: hand it to the broker and close it. Sets no_new_privs.
    Raises `OSError` when the kernel or the machine knows no such filter; then nothing may run here.
    """
    if network not in _PROGRAMS:
        raise OSError(errno.ENOSYS, f"no filter for network {network!r} on {_MACHINE}")
    _set_no_new_privileges()
    program = ctypes.byref(_PROGRAMS[network])
    if network != "egress":
        _call(_NR_SECCOMP, 1, 0, program)
        return None
    if _LANDLOCK:
        _restrict_tcp()
    try:
        return _call(_NR_SECCOMP, 1, _NEW_LISTENER | _WAIT_KILLABLE, program)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return _call(_NR_SECCOMP, 1, _NEW_LISTENER, program)  # Linux before 5.19: a signal interrupts a connect


def guard() -> None:
    """Filter a layer's zygote for good, before it imports foreign code.

    Its members are forked from a process that code may have changed, so their own filter is the function's word
    against ours. This one is not: whatever they do, they connect TCP only through the broker, and never see io_uring.
    """
    if _LANDLOCK:
        _set_no_new_privileges()
        _restrict_tcp()
    install("guard")


def _set_no_new_privileges() -> None:
    zero = ctypes.c_ulong(0)
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")


def _restrict_tcp() -> None:
    """Forbid this process's own TCP connects and binds: the broker makes them.

    With this, the broker may let a call on a Unix socket continue in the kernel: if the caller swaps the descriptor
    in between for a TCP socket that the broker gave it, the call still reaches nothing.
    """
    ruleset = _call(_NR_LANDLOCK_CREATE, ctypes.byref(_Ruleset(0, _LANDLOCK_TCP)), ctypes.c_size_t(16), 0)
    try:
        _call(_NR_LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
