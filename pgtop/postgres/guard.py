"""The one statement that ends or cancels a victim, and only while it still is what was shown."""

from typing import Any

from pgtop.core.activity import instant
from pgtop.core.plan import Act, Guard, Plan, Victim
from pgtop.postgres import queries


def guarded_statement(plan: Plan, victim: Victim) -> tuple[str, list[Any]]:
    """The one statement that ends (or cancels) a victim while it is what was shown, with its arguments."""
    backend = victim.backend
    identity = plan.server.identity
    arguments: list[Any] = [
        backend.pid,
        instant(backend.backend_start),
        instant(identity.postmaster_start),
        identity.in_recovery,
    ]
    if plan.act is Act.CANCEL:
        return queries.CANCEL_IF_SAME_STATEMENT, [*arguments, instant(backend.query_start)]
    if victim.guard is Guard.STATE:
        return queries.TERMINATE_IF_STATE_UNCHANGED, [
            *arguments,
            backend.state,
            instant(backend.state_change),
        ]
    if victim.guard is Guard.TRANSACTION:
        return queries.TERMINATE_IF_SAME_TRANSACTION, [*arguments, instant(backend.xact_start)]
    return queries.TERMINATE_IF_SAME_SESSION, arguments
