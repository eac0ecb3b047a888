"""The canary of a sweep: one session of each application goes first, and shows whether it comes back.

A pool opens again what is terminated; a leak, or a client that is gone, does not. So only the applications
that stay below their number of sessions lose the others too.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pgtop.core.plan import Outcome, Plan, Spared, SparedFor, Victim
from pgtop.core.session_labels import NO_APPLICATION, label
from pgtop.core.text import span

CANARY_SECONDS: Final = 10.0
"""Seconds in which a pool has opened again what was terminated."""


class Canary(msgspec.Struct, frozen=True):
    """The session of an application that goes first, and the others of the plan."""

    application_name: str
    first: Victim
    others: tuple[Victim, ...]
    before: int
    """The sessions that the application had when the plan was made."""


class Seen(msgspec.Struct, frozen=True):
    """One application after its first session was terminated."""

    canary: Canary
    outcome: Outcome
    """The outcome of the first session."""
    after: int | None = None
    """The sessions that the application had after the pause; None if they could not be counted."""
    others: tuple[Outcome, ...] = ()
    """The outcomes of the others; none if they were left alone."""

    @property
    def came_back(self) -> bool:
        """True if the application had as many sessions again as before."""
        return self.after is not None and self.after >= self.canary.before

    @property
    def goes_on(self) -> bool:
        """True if its others may be terminated: the first one is gone, and was not replaced."""
        return self.outcome is Outcome.TERMINATED and self.after is not None and not self.came_back


def canaries(plan: Plan, sessions: Mapping[str, int]) -> tuple[Canary, ...]:
    """Return one canary for each application of the plan, its longest idle session.

    `sessions` has the number of sessions of each application in the plan's snapshot.
    """
    victims: dict[str, list[Victim]] = {}
    for victim in plan.victims:
        victims.setdefault(victim.backend.application_name or "", []).append(victim)
    return tuple(
        Canary(name, first, tuple(others), sessions.get(name, 0))
        for name, (first, *others) in victims.items()
    )


def first_step(plan: Plan, chosen: Sequence[Canary]) -> Plan:
    """Return the plan with the canaries alone."""
    return msgspec.structs.replace(plan, victims=tuple(each.first for each in chosen))


def second_step(plan: Plan, seen: Sequence[Seen]) -> Plan:
    """Return the plan with the others of those applications that did not come back, in the plan's order.

    The others of the rest are skipped, each with what was seen.
    """
    going = {other.backend.id for each in seen if each.goes_on for other in each.canary.others}
    left = tuple(
        Spared(other.backend, SparedFor.CANARY, canary_sentence(each))
        for each in seen
        if not each.goes_on
        for other in each.canary.others
    )
    return msgspec.structs.replace(
        plan,
        victims=tuple(victim for victim in plan.victims if victim.backend.id in going),
        spared=plan.spared + left,
    )


def canary_sentence(seen: Seen) -> str:
    """Say what was seen of an application, and what became of its other sessions.

    `web came back with 12 of 12: left alone`, `leaky-worker stayed at 43: the other 43 terminated`.
    """
    canary, number = seen.canary, len(seen.canary.others)
    name = label(canary.application_name, NO_APPLICATION)
    alone = ": left alone" if number else ""
    if seen.outcome is not Outcome.TERMINATED:
        return f"{name}: its first session was not terminated ({seen.outcome}){alone}"
    if seen.after is None:
        return f"{name}: the second step was not taken{alone}"
    if seen.came_back:
        return f"{name} came back with {seen.after} of {canary.before}{alone}"
    stays = f"{name} {'stayed at' if seen.after == canary.before - 1 else 'fell to'} {seen.after}"
    if not number:
        return stays
    gone = sum(each is Outcome.TERMINATED for each in seen.others)
    if gone == number:
        return f"{stays}: the other {number} terminated"
    return f"{stays}: {gone} of the other {number} terminated"


def intention(canary: Canary, seconds: float) -> str:
    """Say what the canary of an application would do."""
    name, number = label(canary.application_name, NO_APPLICATION), len(canary.others)
    if not number:
        return f"{name}: 1 session"
    return (
        f"{name}: 1 of {canary.before} sessions first; after {span(seconds)} the other "
        f"{number} unless it comes back"
    )
