"""The filter, run by an interpreter of classic BPF, for both machines: no kernel takes part."""

from __future__ import annotations

import errno

import pytest

from wispd.adapters.engine.process import seccomp, syscalls

ALLOW, ASK, ERROR = 0x7FFF_0000, 0x7FC0_0000, 0x0005_0000
MACHINES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
NETWORKS = ("egress", "none", "private")


def run(code: bytes, number: int, arguments: tuple[int, ...] = (), machine: int = MACHINES["x86_64"]) -> int:
    """Return the filter's answer to one call."""
    call = number.to_bytes(4, "little") + machine.to_bytes(4, "little") + bytes(8)
    call += b"".join(one.to_bytes(8, "little") for one in (*arguments, 0, 0, 0, 0, 0, 0)[:6])
    accumulator = at = 0
    while True:
        operation, jump_true, jump_false, k = seccomp._INSTRUCTION.unpack_from(code, at * 8)
        at += 1
        if operation == 0x20:
            accumulator = int.from_bytes(call[k : k + 4], "little")
        elif operation == 0x54:
            accumulator &= k
        elif operation == 0x05:
            at += k
        elif operation == 0x06:
            return k
        else:
            true = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[operation]
            at += jump_true if true else jump_false


def refused(answer: int) -> bool:
    return answer in (ERROR | errno.EPERM, ERROR | errno.ENOSYS)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("machine", MACHINES)
def test_each_table_gets_its_answer(machine: str, network: str) -> None:
    code, audit = seccomp.assemble(network, machine), MACHINES[machine]
    for name, number in syscalls.numbers(syscalls.ALLOWED, machine).items():
        assert run(code, number, machine=audit) == ALLOW, name
    for name, number in syscalls.numbers(syscalls.REFUSED, machine).items():
        assert run(code, number, machine=audit) == ERROR | errno.EPERM, name


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_is_in_one_table_or_refused(machine: str) -> None:
    tables = [syscalls.numbers(one, machine) for one in (syscalls.ALLOWED, syscalls.EXAMINED, syscalls.REFUSED)]
    numbers = [number for one in tables for number in one.values()]
    assert len(numbers) == len(set(numbers))
    code = seccomp.assemble("none", machine)
    for number in set(range(1200)) - set(numbers):
        assert refused(run(code, number, machine=MACHINES[machine])), number


def test_other_call_tables_are_refused() -> None:
    code = seccomp.assemble("none", "x86_64")
    assert run(code, 39) == ALLOW
    assert run(code, 39 | 0x4000_0000) == ERROR | errno.EPERM  # x32
    assert run(code, 39, machine=0x4000_0003) == ERROR | errno.EPERM  # i386
    assert run(code, 0xFFFF_FFFF) == ERROR | errno.EPERM
    assert run(code, syscalls.NEWEST + 1) == ERROR | errno.ENOSYS


def call(network: str, name: str, *arguments: int) -> int:
    number = syscalls.numbers(syscalls.EXAMINED, "x86_64")[name]
    return run(seccomp.assemble(network, "x86_64"), number, arguments)


def test_clone_makes_threads_and_processes_but_no_namespaces() -> None:
    assert call("none", "clone", 0x3D_0F00) == ALLOW  # a thread
    assert call("none", "clone", 0x11) == ALLOW  # a fork
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert call("none", "clone", 1 << bit | 0x11) == ERROR | errno.EPERM
    assert call("none", "clone3") == ERROR | errno.ENOSYS


def test_terminals_can_not_be_written_to() -> None:
    assert call("none", "ioctl", 0, 0x5413) == ALLOW  # window size
    for request in (0x5412, 0x541C):
        assert call("none", "ioctl", 0, request) == ERROR | errno.EPERM
        assert call("none", "ioctl", 0, 1 << 32 | request) == ERROR | errno.EPERM  # the kernel drops the high half


def test_sockets() -> None:
    for family in (1, 2, 10):
        assert call("none", "socket", family, 1 | 0o2000000, 0) == ALLOW
    assert call("none", "socket", 2, 2 | 0o4000, 17) == ALLOW
    assert call("none", "socket", 16, 3, 0) == ALLOW  # NETLINK_ROUTE
    assert call("none", "socket", 16, 3, 12) == ERROR | errno.EPERM  # netfilter
    assert call("none", "socket", 2, 3, 0) == ERROR | errno.EPERM  # raw
    assert call("none", "socket", 2, 1, 262) == ERROR | errno.EPROTONOSUPPORT  # MPTCP
    for family in (3, 17, 38, 40, 44):  # AX.25, packet, kernel crypto, vsock, XDP
        assert call("none", "socket", family, 3, 0) == ERROR | errno.EAFNOSUPPORT
    assert call("none", "socketpair", 1, 1, 0) == ALLOW
    assert call("none", "socketpair", 40, 1, 0) == ERROR | errno.EAFNOSUPPORT


def test_socket_options() -> None:
    assert call("none", "setsockopt", 3, 6, 1) == ALLOW  # TCP_NODELAY
    for level, name in ((0, 4), (41, 57), (1, 26), (6, 31), (0, 64)):
        assert call("none", "setsockopt", 3, level, name) == ERROR | errno.EPERM


def test_the_broker_is_asked_only_under_egress() -> None:
    for name in ("connect", "bind", "listen"):
        assert call("egress", name) == ASK
        assert call("none", name) == ALLOW
    for name, flags_at in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        assert call("egress", name, *[0] * flags_at, 0x4000) == ALLOW
        assert call("egress", name, *[0] * flags_at, 0x2000_0000) == ERROR | errno.EPERM  # MSG_FASTOPEN connects


def test_options_of_prctl_and_personality() -> None:
    assert call("none", "prctl", 15) == ALLOW
    for option in (22, 35, 53, 59, 62):  # SECCOMP, MM, SPECULATION, SYSCALL_USER_DISPATCH, SCHED_CORE
        assert call("none", "prctl", option) == ERROR | errno.EPERM
    assert call("none", "personality", 0xFFFF_FFFF) == ALLOW
    assert call("none", "personality", 0x0040_0000) == ERROR | errno.EPERM  # READ_IMPLIES_EXEC


@pytest.mark.parametrize("machine", MACHINES)
def test_the_guard_leaves_a_zygote_what_it_needs(machine: str) -> None:
    code, audit = seccomp.assemble_guard(machine), MACHINES[machine]
    refusals = syscalls.numbers(syscalls.REFUSED, machine)
    for name, number in refusals.items():
        wanted = ALLOW if name in seccomp._ZYGOTE_CALLS else ERROR | errno.EPERM
        assert run(code, number, machine=audit) == wanted, name
    clone3 = syscalls.numbers(syscalls.EXAMINED, machine)["clone3"]
    assert run(code, clone3, machine=audit) == ALLOW
    sendto = syscalls.numbers(syscalls.EXAMINED, machine)["sendto"]
    assert run(code, sendto, (0, 0, 0, 0x2000_0000), machine=audit) == ERROR | errno.EPERM


def test_the_search_is_short() -> None:
    """Installing costs a run per call of the table: keep each run short."""
    code = seccomp.assemble("egress", "x86_64")
    assert len(code) // 8 < 500
