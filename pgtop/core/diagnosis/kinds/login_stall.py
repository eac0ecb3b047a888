"""A login stall: clients still connecting hold the slots, and terminating sessions frees none for long."""

from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Scene
from pgtop.core.stalled_logins import NO_HELP, STALL_HELP


def find(scene: Scene) -> list[Finding]:
    """Return the stall that is going on, if there is one."""
    stall = scene.facts.stall
    if stall is None:
        return []
    origin = f" ({stall.origin})" if stall.origin else ""
    return [
        Finding(
            kind=Kind.LOGIN_STALL,
            grade=Grade.IS,
            slots=stall.connecting,
            sentence=f"login stall: {stall.words}{origin}; {NO_HELP}",
            addresses=stall.addresses,
            evidence=(
                ("slots held by clients still connecting", str(stall.connecting)),
                ("sessions that have logged in", str(stall.sessions)),
                ("slots", str(stall.slots)),
            ),
            advice=(Advice(f"What helps: {STALL_HELP}", command="pgtop break-glass --stalled-logins 10s"),),
        )
    ]
