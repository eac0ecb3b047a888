"""Sentences on a server that was restarted, promoted or replaced by another one.

Pure functions from two snapshots.
"""

from pgtop.core.activity import Snapshot
from pgtop.core.text import clock, printable


def same_cluster(before: Snapshot, now: Snapshot) -> bool:
    """Return False if another database cluster, with a history of its own, answers at the address."""
    one, other = before.server.identity.system_identifier, now.server.identity.system_identifier
    return one is None or other is None or one == other


def succession(before: Snapshot, now: Snapshot) -> str:
    """Return the change of the server in one sentence; "" if it is still the same one."""
    one, other = before.server.identity, now.server.identity
    if one == other:
        return ""
    where = printable(now.server.address)
    role = "a standby" if other.in_recovery else "a primary"
    if not same_cluster(before, now):
        return f"ANOTHER DATABASE CLUSTER answers at {where} now, {role}"
    if one.postmaster_start == other.postmaster_start:
        if one.in_recovery == other.in_recovery:
            return ""  # only what this role may read of it has changed
        return f"{where} was promoted: it is a primary now"
    # A server that started before the old one was last seen cannot be its restart.
    if one.in_recovery != other.in_recovery or other.postmaster_start <= before.taken_at:
        return f"ANOTHER SERVER answers at {where} now, {role}"
    return f"{where} was restarted at {clock(other.postmaster_start)}"
