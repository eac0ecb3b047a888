"""The wording of automatic sweeps: their rules, their state, and the daemons that sweep this server."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pgtop.core.activity import PGTOP_PREFIX, Backend, BackendId, Snapshot
from pgtop.core.diagnosis.findings import Kind
from pgtop.core.leadership import Key, passed_over_sentence
from pgtop.core.plan import ReapPolicy, Trigger
from pgtop.core.policy import is_emergency, is_over_line
from pgtop.core.retaken_slots import FIRST_REST_SECONDS, FUTILE_SWEEPS
from pgtop.core.session_labels import NO_APPLICATION, label
from pgtop.core.session_patterns import Patterns
from pgtop.core.text import clip, duration, fit, percent, plural, printable, span
from pgtop.reaping.automatic import Turn
from pgtop.reaping.plan_wording import stall_sentence, wont_hold_sentence
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.plan_summary import few_lines

_DAEMON: Final = f"{PGTOP_PREFIX}daemon@"
_SETTLED_SECONDS: Final = 1.0
"""A younger session may be a daemon's connection test, which is gone within milliseconds."""
_LONGEST_NAME: Final = 24
_OFF: Final = " A off "


class AutomaticState(NamedTuple):
    """The state of automatic sweeps: all that their line says."""

    policy: ReapPolicy
    snapshot: Snapshot | None
    """The latest one, also while an older one is shown."""
    turn: Turn | None
    """The result of the last poll."""
    seconds_to_sweep: float
    seconds_to_rest: float
    out: bool
    """True while polls give no data."""
    waits: bool
    """True while a person's own plan is open or being carried out."""
    paused: bool
    problem: str
    """The reason why the last turn failed; "" if it did not."""


# Rules


def rules(
    policy: ReapPolicy, every_seconds: float, kinds: Sequence[Kind] = (), *, powerless: str = ""
) -> list[tuple[str, str]]:
    """Return the rules in sentences with a style each, the most important first.

    `kinds` are those of the findings that sweeps are bound to. `powerless` says what keeps the role from
    terminating any session.
    """
    line, age, every = percent(policy.warn_at), span(policy.idle_after_seconds), span(every_seconds)
    urgent, rest = span(policy.emergency_idle_after_seconds), span(FIRST_REST_SECONDS)
    sweeps = f"Above {line}: terminate sessions idle for more than {age}, at most every {every}."
    emergencies = f"When full: at once, the longest-idle first (more than {urgent}), until below {line}."
    rests = f"After {FUTILE_SWEEPS} sweeps refilled at once, it pauses for {rest} or more."
    ends = "Every termination is logged. Keeps running while the display is paused. A turns it off."
    asked = _asked_for(policy)
    most, only = policy.max_per_sweep, policy.only
    return [
        ("Sweep automatically while this dashboard is open", "strong-red"),
        *([(f"It can terminate nothing: {powerless}", "amber")] if powerless else []),
        (sweeps, ""),
        (emergencies, ""),
        *([(f"Also sessions {asked}.", "amber")] if asked else []),
        *([(f"At most {plural(most, 'session')} per sweep.", "")] if most is not None else []),
        *([] if only.is_empty else [(f"Only {_named(only)}.", "")]),
        *([(f"Only sessions of such findings: {', '.join(kinds)}.", "")] if kinds else []),
        (f"Never: {_never(policy)}.", ""),
        (f"{rests} Emergency sweeps continue.", "dim"),
        ("If clients still connecting hold the slots, it terminates one session, then pauses.", "dim"),
        (ends, "dim"),
    ]


def _asked_for(policy: ReapPolicy) -> str:
    seconds = policy.include_idle_in_transaction_seconds
    asked = [] if seconds is None else [f"idle in transaction for more than {span(seconds)}"]
    asked += ["holding advisory locks"] if policy.include_advisory_locks else []
    asked += ["listening"] if policy.include_listeners else []
    return ", ".join(asked)


def _never(policy: ReapPolicy) -> str:
    never = ["active sessions", "pgtop's own", "superusers' (unless pgtop is one)"]
    if policy.include_idle_in_transaction_seconds is None:
        never.append("idle in transaction")
    if not policy.include_advisory_locks:
        never.append("advisory lock holders")
    if not policy.include_listeners:
        never.append("sessions seen running LISTEN")
    if not policy.protected.is_empty:
        never.append(f"protected: {_named(policy.protected)}")
    return ", ".join(never)


def _named(patterns: Patterns) -> str:
    """Return the patterns by kind: `application web*, user etl, address 10.0.0.0/8`."""
    kinds = (
        ("application", patterns.applications),
        ("user", patterns.users),
        ("database", patterns.databases),
        ("address", patterns.addresses),
    )
    return ", ".join(
        f"{kind} {' '.join(printable(each) or NO_APPLICATION for each in some)}"
        for kind, some in kinds
        if some
    )


# State


def auto_lines(standing: AutomaticState, width: int, most: int) -> list[list[Cell]]:
    """Return the line with the state of automatic sweeps; a problem may take `most` lines."""
    said, style = how_it_stands(standing)
    if standing.paused:
        said += " · keeps running while paused"
    room = max(1, width - len(_OFF))
    lines = few_lines(f"AUTO on · {said}", room - 1, most if style == "alarm" else 1)
    first = [Cell(fit(f" {lines[0]}", room), style), Cell(_OFF, style, "screen.auto")]
    return [first, *([Cell(fit(f" {line}", width), style)] for line in lines[1:])]


def how_it_stands(standing: AutomaticState) -> tuple[str, str]:
    """Return the state in words, and the style of that."""
    turn, snapshot = standing.turn, standing.snapshot
    if standing.out or snapshot is None:
        return "no answer: resumes when the server is back", "note"
    if standing.problem:
        again = f" · retry in {duration(standing.seconds_to_sweep)}" if standing.seconds_to_sweep > 0 else ""
        return f"nothing terminated{again}: {standing.problem}", "alarm"
    if standing.waits:
        return "paused while a dialog is open", "note"
    if turn is None:
        return "starts with the next poll", "note"
    if not turn.is_active:
        who = named(turn.active.application_name) if turn.active else "no daemon"
        return f"standing by: {who} is active{f', {turn.unfit}' if turn.unfit else ''}", "note"
    holds = f"sweeping will not hold: {wont_hold_sentence(turn.wont_hold)}" if turn.wont_hold else ""
    said = [
        _at_work(standing, turn, snapshot),
        turn.hands_off or holds,
        turn.keyless,
        passed_over_sentence(turn.passed_over, most=1),
    ]
    return " · ".join(each for each in said if each), "note"


def _at_work(standing: AutomaticState, turn: Turn, snapshot: Snapshot) -> str:
    policy = standing.policy
    line = f"the {percent(policy.warn_at)} line"
    full = is_emergency(snapshot)
    if turn.stall is not None:
        return f"paused: {stall_sentence(turn.stall)}"
    if standing.seconds_to_rest > 0:
        name = clip(label(turn.patience.application, NO_APPLICATION), _LONGEST_NAME)
        rest = duration(standing.seconds_to_rest)
        return f"paused for {rest}: {name} takes its slots back at once"
    if full:
        age = span(policy.emergency_idle_after_seconds)
        return f"full{_nobody(turn, age)}"
    soonest = duration(standing.seconds_to_sweep) if standing.seconds_to_sweep > 0 else ""
    if snapshot.usage <= policy.warn_at:
        under = "below" if snapshot.usage < policy.warn_at else "on"
        return f"{under} {line}" + (f", next sweep in ≥ {soonest}" if soonest else "")
    if not is_over_line(snapshot, policy):
        return f"the sessions alone are not over {line}"
    if soonest:
        return f"over {line}, next sweep in {soonest}"
    return f"over {line}{_nobody(turn, span(policy.idle_after_seconds))}"


def _nobody(turn: Turn, age: str) -> str:
    plan = turn.plan
    if plan is None or plan.victims or plan.trigger is Trigger.NONE:
        return ""
    return f", {plan.permission or f'no eligible session (idle > {age})'}"


# Daemons


def named(application_name: str) -> str:
    """Return a pgtop session's name as people say it.

    >>> named("pgtop daemon@host-a"), named("pgtop dashboard@jump1")
    ('daemon on host-a', 'dashboard on jump1')
    """
    face, _, host = printable(application_name).removeprefix(PGTOP_PREFIX).partition("@")
    return f"{face} on {host}" if host else face


def daemons(snapshot: Snapshot) -> frozenset[BackendId]:
    """Return the sessions that call themselves daemons, except those that have just connected."""
    return frozenset(
        each.id
        for each in snapshot.backends
        if (each.application_name or "").startswith(_DAEMON) and not _has_just_come(each, snapshot.taken_at)
    )


def reaper_words(reapers: Sequence[Key]) -> list[str]:
    """Return the wordings for the daemon that sweeps here, the fullest first; none if there is no daemon.

    `reapers` are those that hold pgtop's key and count, the active one first.
    """
    if not reapers:
        return []
    who = clip(named(reapers[0].application_name), _LONGEST_NAME + len("daemon on "))
    active, others = f"reaper: {who}, active", len(reapers) - 1
    forms = [active, f"reaper: {who}", "reaper: daemon"]
    return [f"{active}, +{others} standing by", f"reaper: {who} +{others}", *forms[1:]] if others else forms


def _has_just_come(backend: Backend, now: int) -> bool:
    age = backend.session_seconds(now)
    return age is not None and age < _SETTLED_SECONDS
