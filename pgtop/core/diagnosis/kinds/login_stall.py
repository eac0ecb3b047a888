"""A login stall: clients still connecting hold the slots, and terminating sessions frees none for long."""

from typing import Final

from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Scene
from pgtop.core.stalled_logins import NO_HELP, STALL_HELP, logging_in

_AS_USUAL: Final = 0.5
"""Seconds within which a login is over as a rule. Younger clients are not counted as unlisted either."""


def find(scene: Scene) -> list[Finding]:
    """Return the stall that is going on, or that is about to fill the server, if there is one.

    A stall is sure once logins are refused. Before that, clients that hold a large part of the slots and do
    not get to the end of their logins look like it.
    """
    stall, grade = scene.facts.stall, Grade.IS
    if stall is None:
        stall, grade = logging_in(scene.snapshot, _AS_USUAL), Grade.LOOKS_LIKE
        limits, snapshot = scene.thresholds, scene.snapshot
        least = max(scene.floor, limits.stall_share * snapshot.slots)
        if stall.connecting < least or snapshot.usage < limits.speaks_from_usage:
            return []
    origin = f" ({stall.origin})" if stall.origin else ""
    held = f"login stall{':' if grade is Grade.IS else '?'} {stall.words}"
    return [
        Finding(
            kind=Kind.LOGIN_STALL,
            grade=grade,
            slots=stall.connecting,
            sentence=f"{held}{origin}; {NO_HELP}",
            shorter=(f"{held}{origin}", held, f"login stall: {stall.connecting} slots"),
            addresses=stall.addresses,
            evidence=(
                ("slots held by clients still connecting", str(stall.connecting)),
                ("sessions that have logged in", str(stall.sessions)),
                ("slots", str(stall.slots)),
            ),
            advice=(Advice(f"What helps: {STALL_HELP}", command="pgtop break-glass --stalled-logins 10s"),),
        )
    ]
