"""Sessions idle in transaction: the application does other work in the middle of a transaction."""

from pgtop.core.activity import IDLE_IN_TRANSACTION_ABORTED, IN_TRANSACTION, Backend
from pgtop.core.diagnosis.findings import ACT_KEYS, Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.scene import Application, Scene, addresses_of
from pgtop.core.diagnosis.wording import (
    age,
    code_advice,
    earliest,
    last_of_most,
    median_seconds,
    set_for_role,
)
from pgtop.core.plan import Act
from pgtop.core.session_labels import NO_USER, label
from pgtop.core.text import duration


def find(scene: Scene) -> list[Finding]:
    """Return a finding for each application with enough of them."""
    least = scene.thresholds.in_transaction
    found = []
    for application, members in scene.by_application.items():
        if len(members) < scene.floor:
            continue
        there = [each for each in members if each.state in IN_TRANSACTION and scene.rests_for(each, least)]
        if len(there) >= scene.floor:
            found.append(_of(scene, application, there))
    return found


def _of(scene: Scene, application: Application, there: list[Backend]) -> Finding:
    statement, number = last_of_most(there)
    middle = duration(median_seconds((each.state_change for each in there), scene.now))
    after = f", {number} after `{statement}`" if statement and number > len(there) / 2 else ""
    since = earliest(each.xact_start for each in there)
    aborted = sum(each.state == IDLE_IN_TRANSACTION_ABORTED for each in there)
    why = "work outside the database inside a transaction"
    if aborted * 2 > len(there):
        why = f"{aborted} met an error, and were not rolled back"
    sentence = f"{len(there)} of {application.name} idle in transaction (median {middle}){after}: {why}"
    return Finding(
        kind=Kind.IDLE_IN_TRANSACTION,
        grade=Grade.LOOKS_LIKE,
        slots=len(there),
        sentence=sentence,
        shorter=(
            f"{len(there)} of {application.name} idle in transaction (median {middle}): {why}",
            f"{len(there)} of {application.name} idle in transaction (median {middle})",
            f"{len(there)} of {application.name} idle in transaction",
        ),
        backends=tuple(each.id for each in there),
        application_name=application.application_name,
        usename=application.usename,
        datname=application.datname,
        addresses=addresses_of(there),
        since=since,
        evidence=(
            ("sessions idle in transaction", str(len(there))),
            ("median time in this state", middle),
            ("oldest transaction", age(since, scene.now)),
            *([("most frequent last statement", f"{statement} ({number})")] if statement else []),
        ),
        statements=(statement,) if statement else (),
        remedy=Remedy(
            Act.TERMINATE,
            tuple(each.id for each in there),
            "Their transactions are rolled back. The room may not last: while "
            f"{application.name} works on, it opens new sessions",
        ),
        advice=_advice(application, statement),
    )


def _advice(application: Application, statement: str) -> tuple[Advice, ...]:
    return (
        Advice("Terminate them: their transactions are rolled back", key=ACT_KEYS),
        Advice(
            f"Let the server end such transactions of {label(application.usename, NO_USER)}, "
            "in sessions opened from now on",
            sql=set_for_role(application.usename, "idle_in_transaction_session_timeout", "60s"),
        ),
        *code_advice(
            "In the directory of its code: find what it waits for in the transaction",
            statement,
            "held-across-network",
        ),
    )
