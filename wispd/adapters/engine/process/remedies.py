"""What would raise a host's level: exact files and commands for each thing that `capabilities` may find missing.

Nothing is done here. Commands are argument lists, never lines for a shell; all of them need root.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROFILE_PATH: Final = "/etc/apparmor.d/wisp"
DELEGATION_PATH: Final = "/etc/systemd/system/user@.service.d/60-wisp.conf"
SYSCTL_PATH: Final = "/etc/sysctl.d/60-wisp.conf"


@dataclass(frozen=True, slots=True)
class Remedy:
    """`files`: path → whole content, written first; then `commands`. `note`: what is left to a person."""

    id: str
    title: str
    files: tuple[tuple[str, str], ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    note: str = ""

    @property
    def runnable(self) -> bool:
        return bool(self.files or self.commands)


def remedy(name: str, *, executable: str, root: bool) -> Remedy:
    """Return the remedy of that name for the interpreter at `executable`. Unknown ones only have a title."""
    if name == "apparmor":
        return _apparmor(executable)
    if name == "delegation":
        return _delegation(root)
    if name in _SYSCTLS:
        key, value = _SYSCTLS[name]
        return Remedy(
            name,
            f"let ordinary users make user namespaces ({key})",
            ((SYSCTL_PATH, f"{key} = {value}\n"),),
            (("sysctl", "-w", f"{key}={value}"),),
        )
    return Remedy(name, _TITLES.get(name, name), note=_NOTES.get(name, ""))


_SYSCTLS: Final = {
    "userns_clone": ("kernel.unprivileged_userns_clone", "1"),
    "max_user_namespaces": ("user.max_user_namespaces", "15000"),
}
_TITLES: Final = {
    "container": "let the sandbox make namespaces",
    "kernel_5_12": "run Linux 5.12 or newer",
    "kernel_5_14": "run Linux 5.14 or newer",
    "kernel_6_7": "run Linux 6.7 or newer",
    "run_as_root": "give each instance a uid of its own",
    "linux": "run on Linux",
}
_NOTES: Final = {
    "container": "inside Docker or Podman: --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined, or --privileged",
    "kernel_6_7": "only Unix-socket servers inside functions with network egress need it",
    "run_as_root": "start the node as root: sudo wisp up; everything that serves requests gives root away again",
}


def _apparmor(executable: str) -> Remedy:
    profile = (
        "abi <abi/4.0>,\n"
        "include <tunables/global>\n\n"
        f'profile wisp "{executable}" flags=(unconfined) {{\n'
        "  userns,\n"
        "  include if exists <local/wisp>\n"
        "}\n"
    )
    return Remedy(
        "apparmor",
        "let Wisp's Python make user namespaces (Ubuntu 24.04 and later forbid it)",
        ((PROFILE_PATH, profile),),
        (("apparmor_parser", "--replace", PROFILE_PATH),),
        f"this holds for every program run by {executable}; an interpreter of Wisp's own keeps it narrow",
    )


def _delegation(root: bool) -> Remedy:
    if root:
        return Remedy(
            "delegation",
            "hand control groups to the node",
            note="start it as: systemd-run --scope -p Delegate=yes wisp up; in a container: mount /sys/fs/cgroup "
            "writable (Docker: --cgroupns=private with a delegated group)",
        )
    return Remedy(
        "delegation",
        "hand the memory, cpu and pids controllers to users' own services",
        ((DELEGATION_PATH, "[Service]\nDelegate=cpu memory pids\n"),),
        (("systemctl", "daemon-reload"),),
        "log in again, then start the node as: systemd-run --user --scope -p Delegate=yes wisp up",
    )
