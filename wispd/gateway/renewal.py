"""When a secret changes: instances that were told the former value finish what they began and end."""

from __future__ import annotations

from wispd.gateway.pool import Pool
from wispd.gateway.secrets import Stamp


def renew(pool: Pool, stamp: Stamp) -> None:
    """Let instances that were told other values than `stamp` take nothing new; those that do nothing end now."""
    roster = pool.roster
    if stamp == roster.stamp:
        return
    roster.stamp = stamp
    for channel in list(roster.channels.values()):
        if channel.stopping or channel.trial is not None:
            continue
        roster.outdated.add(channel.instance)
        if not channel.inflight:
            pool.end(channel.instance)
        elif not channel.multiplexed:
            pool.requeue(channel.take_back())
