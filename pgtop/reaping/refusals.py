"""The refusals that every face makes before sessions may be terminated."""

from pgtop.core.activity import Snapshot
from pgtop.core.plan import Plan, SparedFor, Trigger
from pgtop.core.text import printable
from pgtop.errors import PgtopError
from pgtop.postgres.errors.network_and_driver import (
    hidden_states_error,
    pooler_error,
    untracked_states_error,
)
from pgtop.postgres.session.own_connection import OwnConnection


def refuse_pooler(own_connection: OwnConnection) -> None:
    """Raise ConnectError if the connection goes through a pooler."""
    if own_connection.pooled:
        host, port = own_connection.address
        raise pooler_error(printable(f"{host}:{port}"))


def refuse_unsure(own_connection: OwnConnection, snapshot: Snapshot) -> None:
    """Raise PgtopError if the snapshot may not show the sessions that would be terminated.

    That is a ConnectError for a connection through a pooler, and a NotPermittedError if states are hidden.
    """
    refuse_pooler(own_connection)
    if not snapshot.counts.exact:
        raise hidden_states_error(snapshot)


def refuse_untracked(plan: Plan, snapshot: Snapshot) -> None:
    """Raise NotPermittedError if a sweep finds no session because the states are not tracked."""
    untracked = any(each.spared_for is SparedFor.UNTRACKED for each in plan.spared)
    if not plan.victims and untracked and plan.trigger is not Trigger.NONE:
        raise untracked_states_error(snapshot)


def refuse_another(plan: Plan, snapshot: Snapshot) -> None:
    """Raise PgtopError if the plan was made on another server than the snapshot's, or before its restart."""
    if plan.server.identity != snapshot.server.identity:
        raise PgtopError(
            "the plan is of another server, or of before a restart: nothing was terminated", "plan again"
        )
