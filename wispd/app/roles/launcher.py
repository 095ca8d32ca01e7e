"""The launcher's role: take what the supervisor sent, then become the launcher, with nothing else left in memory.

The launcher speaks the supervisor's messages itself (adapters/engine/process/supervision.py) on the same descriptor.
"""

from __future__ import annotations

from wispd.adapters.engine.process import spawn
from wispd.adapters.engine.process.config import LauncherSettings
from wispd.app.boot import BootLink
from wispd.app.settings import Settings, machine_memory_bytes


def run(boot: BootLink) -> int:
    """Become the launcher; returns only when that is not possible."""
    try:
        gateway = boot.descriptors.get("gateway", -1)
        spawn.replace_process(launcher_settings(boot.settings), boot=boot.fileno(), gateway=gateway)
    except OSError as error:
        boot.failed(f"the launcher can't be started: {error}")
    return 1


def launcher_settings(settings: Settings) -> LauncherSettings:
    """What the launcher needs of a node's settings."""
    return LauncherSettings(
        data=settings.data_dir,
        mode="process" if settings.level == "process" else "auto",
        level=settings.level,
        service_uid=max(settings.service_uid, 0),
        uid_first=settings.uid_first + 1 if settings.uid_first else 0,
        uid_count=settings.uid_count - 1,
        budget_bytes=settings.memory_budget_bytes or machine_memory_bytes() * 3 // 4,
        pool_members=settings.pool_members,
    )
