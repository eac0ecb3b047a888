"""The change of a server that was restarted, promoted or replaced by another one, and the sentence on it.

Pure functions from two snapshots.
"""

from enum import StrEnum

from pgtop.core.activity import Snapshot
from pgtop.core.text import clock, printable


def same_cluster(before: Snapshot, now: Snapshot) -> bool:
    """Return False if another database cluster, with a history of its own, answers at the address."""
    one, other = before.server.identity.system_identifier, now.server.identity.system_identifier
    return one is None or other is None or one == other


class ServerChange(StrEnum):
    """The ways in which the server behind an address can have changed."""

    ALIEN = "alien"
    """Another database cluster answers."""
    PROMOTED = "promoted"
    """The same server, a standby before, is a primary now."""
    REPLACED = "replaced"
    """Another server of the same cluster answers."""
    RESTARTED = "restarted"


def server_change(before: Snapshot, now: Snapshot) -> ServerChange | None:
    """Return the change of the server; None if it is still the same one."""
    one, other = before.server.identity, now.server.identity
    if one == other:
        return None
    if not same_cluster(before, now):
        return ServerChange.ALIEN
    if one.postmaster_start == other.postmaster_start:
        # With the same role, only what this role may read of it has changed.
        return None if one.in_recovery == other.in_recovery else ServerChange.PROMOTED
    # A server that started before the old one was last seen cannot be its restart.
    if one.in_recovery != other.in_recovery or other.postmaster_start <= before.taken_at:
        return ServerChange.REPLACED
    return ServerChange.RESTARTED


def succession(before: Snapshot, now: Snapshot) -> str:
    """Return the change of the server in one sentence; "" if it is still the same one."""
    change = server_change(before, now)
    identity, where = now.server.identity, printable(now.server.address)
    role = "a standby" if identity.in_recovery else "a primary"
    match change:
        case ServerChange.ALIEN:
            return f"ANOTHER DATABASE CLUSTER answers at {where} now, {role}"
        case ServerChange.PROMOTED:
            return f"{where} was promoted: it is a primary now"
        case ServerChange.REPLACED:
            return f"ANOTHER SERVER answers at {where} now, {role}"
        case ServerChange.RESTARTED:
            return f"{where} was restarted at {clock(identity.postmaster_start)}"
        case None:
            return ""
