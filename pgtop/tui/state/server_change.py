"""Who answers at the address now, where that is no longer the server it was: in words.

Pure functions from two snapshots.
"""

from pgtop.core.activity import Snapshot
from pgtop.core.text import clock, printable


def same_cluster(before: Snapshot, now: Snapshot) -> bool:
    """False where the address answers as another database cluster: its past is not this one's."""
    one, other = before.server.identity.system_identifier, now.server.identity.system_identifier
    return one is None or other is None or one == other


def succession(before: Snapshot, now: Snapshot) -> str:
    """What became of the server since, in one sentence; "" where it is the same one still."""
    one, other = before.server.identity, now.server.identity
    if one == other:
        return ""
    where = printable(now.server.address)
    role = "a standby" if other.in_recovery else "a primary"
    if not same_cluster(before, now):
        return f"ANOTHER DATABASE CLUSTER answers at {where} now, {role}, and the graph is its own"
    if one.postmaster_start == other.postmaster_start:
        if one.in_recovery == other.in_recovery:
            return ""  # nothing but what this role may read of it
        return f"{where} was promoted: it is a primary now"
    # A server that began before the old one was last seen is not that one, begun again.
    if one.in_recovery != other.in_recovery or other.postmaster_start <= before.taken_at:
        return f"ANOTHER SERVER answers at {where} now, {role}"
    return f"{where} was restarted at {clock(other.postmaster_start)}"
