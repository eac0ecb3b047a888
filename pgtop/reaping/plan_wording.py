"""The wording of plans and reports, on the screen and in a terminal: what a plan will do, which sessions it
skips, and its outcome.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from pgtop.core.activity import IN_TRANSACTION, Backend, BackendId
from pgtop.core.diagnosis.findings import Finding, Kind
from pgtop.core.plan import Act, Outcome, Plan, SparedFor, Trigger, Victim
from pgtop.core.policy import DIAGNOSED, SELECTED
from pgtop.core.session_labels import NO_APPLICATION, NO_DATABASE, NO_USER, label, rest_age
from pgtop.core.stalled_logins import NO_HELP, Stall
from pgtop.core.text import cell_width, clip, percent, plural, printable, span
from pgtop.reaping.reaper import Report

_SPARED_PHRASES: Final = {
    SparedFor.OWN: ("is pgtop's own", "are pgtop's own"),
    SparedFor.HIDDEN: ("is hidden from this role", "are hidden from this role"),
    SparedFor.UNTRACKED: ("has no state (track_activities = off)", "have no state (track_activities = off)"),
    SparedFor.SUPERUSER: ("belongs to a superuser", "belong to superusers"),
    SparedFor.FORBIDDEN: ("is not permitted to this role", "are not permitted to this role"),
    SparedFor.PROTECTED: ("protected", "protected"),
    SparedFor.NAMED: ("protected by its name", "protected by their names"),
    SparedFor.ADVISORY_LOCK: ("holds an advisory lock", "hold advisory locks"),
    SparedFor.LISTENING: ("listens (LISTEN)", "listen (LISTEN)"),
    SparedFor.IN_TRANSACTION: ("idle in transaction", "idle in transaction"),
    SparedFor.NOT_ACTIVE: ("is not running a query", "are not running a query"),
    SparedFor.ENOUGH: ("not needed", "not needed"),
    SparedFor.BEYOND_COUNT: ("beyond --count", "beyond --count"),
    SparedFor.BEYOND_MOST: ("beyond --max-per-sweep", "beyond --max-per-sweep"),
    SparedFor.STALL: ("would not help for long", "would not help for long"),
    SparedFor.STUCK: ("survived an earlier attempt", "survived an earlier attempt"),
    SparedFor.AGE_UNKNOWN: ("has an unknown idle age", "have an unknown idle age"),
    SparedFor.UNTOLD: ("has an unclear process title", "have unclear process titles"),
    SparedFor.CANARY: ("left alone after the canary", "left alone after the canary"),
    SparedFor.UNSURE: ("may belong to another user or database", "may belong to another user or database"),
}


_BLOCKERS_NAMED: Final = 3
_NOT_AGE: Final = frozenset({SparedFor.ENOUGH, SparedFor.FORBIDDEN, SparedFor.SUPERUSER})
"""Reasons for an empty plan that another idle age does not change."""


def headline(plan: Plan) -> str:
    """Return a sentence on what a plan will do and the room it makes.

    `Terminate 24 sessions idle for more than 5m: 86% → 61%`.
    """
    number = len(plan.victims)
    if plan.trigger is Trigger.SELECTED and not number:
        return "Nothing to cancel" if plan.act is Act.CANCEL else "Nothing to terminate"
    if plan.act is Act.CANCEL:
        stay = "its session stays" if number == 1 else "the sessions stay"
        return f"Cancel {plural(number, 'query', 'queries')}{_one_reason(plan)}; {stay} connected"
    usage = f"{percent(plan.usage_before)} → {percent(plan.usage_after)}"
    if plan.trigger is Trigger.SELECTED:
        reason = _one_reason(plan)
        return f"Terminate {plural(number, 'session' if reason else 'selected session')}{reason}: {usage}"
    if plan.trigger is Trigger.BREAK_GLASS:
        return _broken_glass(plan, usage)
    policy = plan.policy
    emergency = plan.trigger is Trigger.EMERGENCY
    age = policy.emergency_idle_after_seconds if emergency else policy.idle_after_seconds
    is_enough = any(spared.spared_for is SparedFor.ENOUGH for spared in plan.spared)
    if (
        not number
        and emergency
        and (plan.stall is not None or (is_enough and plan.usage_before >= plan.warn_at))
    ):
        return f"Nothing to do: the sessions alone are below the {percent(plan.warn_at)} line"
    if not number and is_enough:
        return f"Nothing to do: usage is {percent(plan.usage_before)}, below the {percent(plan.warn_at)} line"
    meant = _meant(age, policy.include_idle_in_transaction_seconds)
    if not number:
        return f"No session that may be terminated is {meant}"
    if emergency:
        longest = "longest-idle session" if number == 1 else f"{number} longest-idle sessions"
        return f"EMERGENCY: terminate the {longest} (> {span(age)}): {usage}"
    return f"Terminate {plural(number, 'session')} {meant}: {usage}"


def queue_sentence(plan: Plan) -> str:
    """Return a sentence on the sessions that wait for locks behind a plan's victims; "" if none does.

    `3 sessions wait for locks behind 4711`.
    """
    if not plan.blocked_sessions:
        return ""
    blockers = [str(each.backend.pid) for each in plan.victims if each.blocked_sessions]
    verb = "waits" if plan.blocked_sessions == 1 else "wait"
    if len(blockers) > _BLOCKERS_NAMED:
        named = f"{len(blockers)} of these"
    else:
        named = " and ".join(filter(None, [", ".join(blockers[:-1]), blockers[-1]]))
    return f"{plural(plan.blocked_sessions, 'session')} {verb} for locks behind {named}"


def refill_sentence(plan: Plan, refilling: frozenset[BackendId]) -> str:
    """Say how much of a plan's room is soon taken again; "" if nothing is known to come back.

    `refilling` are the sessions known to come back: `All of these come back at once: expect 86%, not 61%`.
    """
    number, again = len(plan.victims), sum(each.backend.id in refilling for each in plan.victims)
    if not again or plan.act is Act.CANCEL:
        return ""
    if number == 1:
        said = "It comes back at once"
    else:
        those = "All" if again == number else str(again)
        said = f"{those} of these {'comes' if again == 1 else 'come'} back at once"
    usage = plan.usage_after + (plan.usage_before - plan.usage_after) * again / number
    if percent(usage) == percent(plan.usage_after):
        return said
    return f"{said}: expect {percent(usage)}, not {percent(plan.usage_after)}"


def _one_reason(plan: Plan) -> str:
    """Return the finding that a plan was made from: ` (diagnosis: leak)`; "" for none."""
    reasons = {victim.reason for victim in plan.victims}
    if len(reasons) != 1 or not (reason := reasons.pop()).startswith(DIAGNOSED):
        return ""
    return f" ({printable(reason)})"


def left_waiting(plan: Plan) -> int:
    """Return how many sessions wait for locks that no victim is known to hold."""
    return max(0, plan.waiting_on_locks - (plan.blocked_sessions or 0))


def why(victim: Victim) -> str:
    """Return the reason of a victim, printable: `blocks 3, idle in transaction for 12m (> 10m)`."""
    blocks = f"blocks {victim.blocked_sessions}, " if victim.blocked_sessions else ""
    return f"{blocks}{printable(victim.reason)}"


def remark(victim: Victim) -> str:
    """Return what neither a victim's age nor the headline says, printable: `blocks 3`; "" for nothing."""
    said_already = (DIAGNOSED, f"{victim.backend.state} for ")
    says_no_more = victim.reason == SELECTED or victim.reason.startswith(said_already)
    parts = (
        printable(victim.warning),
        f"blocks {victim.blocked_sessions}" if victim.blocked_sessions else "",
        "" if says_no_more else printable(victim.reason),
    )
    return ", ".join(filter(None, parts))


def sweep_title(plan: Plan, width: int) -> str:
    """Return a sweep's title in at most `width` cells: its scope, and how many of all that it could cover.

    `Sweep leaky-worker (filter app:web): 15 of 75`.
    """
    name = "Emergency sweep" if plan.trigger is Trigger.EMERGENCY else "Sweep"
    if plan.refusal:
        return clip(name, width)
    number = len(plan.victims)
    is_part = plan.scope is not None or number != plan.eligible
    counted = f": {number} of {plan.eligible}" if is_part else f": {number}"
    covered = plan.scope.words if plan.scope is not None else "all sessions"
    of = " of" if plan.trigger is Trigger.EMERGENCY else ""
    return clip(f"{name}{of} {covered}", max(0, width - cell_width(counted))) + counted


def usage_change(plan: Plan, after: float, now: float | None = None) -> str:
    """Return the usage before a plan and the measured one after it, and say what is still wrong.

    `100% → 82%, still over 80%`. `after` is a fraction, and so is `now`, the usage at present if
    that has changed since: `86% → 61%, now 83%, over 80% again`.
    """
    change, line = f"{percent(plan.usage_before)} → {percent(after)}", plan.warn_at
    present = after if now is None else now
    if percent(present) != percent(after):
        change += f", now {percent(present)}"
    if present < line:
        return change
    again = " again" if after < line else ""
    still = "still " if plan.usage_before >= line and not again else ""
    return f"{change}, {still}{'full' if present >= 1 else f'over {percent(line)}'}{again}"


def stall_sentence(stall: Stall) -> str:
    """Say which clients hold the slots in a login stall, and that terminating sessions does not cure it.

    >>> stall_sentence(Stall(12, 8, 20))
    '12 slots are held by clients still connecting: terminating idle sessions will not help for long'
    """
    origin = f" ({stall.origin})" if stall.origin else ""
    return f"{stall.words}{origin}: {NO_HELP}"


def wont_hold_sentence(finding: Finding) -> str:
    """Say why what a sweep frees is taken again at once: the finding is a surge, or pools that are too large.

    >>> from pgtop.core.diagnosis.findings import Grade
    >>> wont_hold_sentence(Finding(Kind.SURGE, Grade.LOOKS_LIKE, 40, "", application_name="web"))
    'a surge of web comes back at once'
    >>> wont_hold_sentence(Finding(Kind.POOL_ARITHMETIC, Grade.LOOKS_LIKE, 40, "", application_name=""))
    'the pools of (no name) refill at once'
    """
    name = label(finding.application_name, NO_APPLICATION)
    if finding.kind is Kind.SURGE:
        return f"a surge of {name} comes back at once"
    return f"the pools of {name} refill at once"


def _broken_glass(plan: Plan, usage: str) -> str:
    """Return a sentence on what a plan made on the server's own host will do.

    `Terminate 13 sessions, idle for 12m to ≥ 3s: 103% → 79%`.
    """
    number = len(plan.victims)
    room = f": {usage}" if plan.server.limits.are_known else ""
    if plan.stalled_logins_seconds is not None:
        meant = f"logging in for more than {span(plan.stalled_logins_seconds)}"
        return (
            f"Terminate {plural(number, 'client')} {meant}{room}" if number else f"No client has been {meant}"
        )
    if not number and any(spared.spared_for is SparedFor.ENOUGH for spared in plan.spared):
        line = percent(plan.warn_at)
        return f"Nothing to do: usage is {percent(plan.usage_before)}, below the {line} line"
    if not number:
        held = f" (usage is {percent(plan.usage_before)})" if plan.server.limits.are_known else ""
        meant = _meant(plan.least_idle_seconds or 0.0, plan.policy.include_idle_in_transaction_seconds)
        return f"No session that may be terminated is {meant}{held}"
    ages = [rest_age(victim.backend, plan.taken_at) for victim in plan.victims]
    idle_ages = ages[0] if ages[0] == ages[-1] else f"{ages[0]} to {ages[-1]}"
    in_transaction = any(victim.backend.state in IN_TRANSACTION for victim in plan.victims)
    states = "idle, or idle in transaction," if in_transaction else "idle"
    return f"Terminate {plural(number, 'session')}, {states} for {idle_ages}{room}"


def _meant(age: float, in_transaction_age: float | None) -> str:
    """Return a phrase for the sessions that a sweep terminates.

    >>> _meant(300.0, None), _meant(300.0, 300.0)
    ('idle for more than 5m', 'idle, or idle in transaction, for more than 5m')
    >>> _meant(300.0, 600.0)
    'idle for more than 5m, or idle in transaction for more than 10m'
    """
    if in_transaction_age == age:
        return f"idle, or idle in transaction, for more than {span(age)}"
    idle = f"idle for more than {span(age)}"
    if in_transaction_age is None:
        return idle
    return f"{idle}, or idle in transaction for more than {span(in_transaction_age)}"


def ranked(names: Iterable[str]) -> list[tuple[str, int]]:
    """Each name with how often it stands there, the most first.

    >>> ranked(["web", "etl", "app", "web"])
    [('web', 2), ('app', 1), ('etl', 1)]
    """
    return sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))


def by_application(plan: Plan) -> list[tuple[str, int]]:
    """The victims' applications with their counts, the most first."""
    return ranked(label(victim.backend.application_name, NO_APPLICATION) for victim in plan.victims)


def by_user_and_database(plan: Plan) -> list[tuple[str, int]]:
    """The victims' users and databases with their counts, the most first."""
    return ranked(user_and_database(victim.backend) for victim in plan.victims)


def user_and_database(backend: Backend) -> str:
    """Return a session's user and database, as one text if the host cannot tell the two apart."""
    if backend.readings:
        return f"{printable(backend.usename)} (user and database)"
    return f"{label(backend.usename, NO_USER)} in {label(backend.datname, NO_DATABASE)}"


def spared_sentence(plan: Plan) -> str:
    """Return the skipped sessions: `skipped: 3 protected, 1 holds an advisory lock`; "" for none."""
    counts = Counter(spared.spared_for for spared in plan.spared)
    said = [f"{counts[each]} {_SPARED_PHRASES[each][counts[each] > 1]}" for each in SparedFor if counts[each]]
    return f"skipped: {', '.join(said)}" if said else ""


def begun_sentence(plan: Plan) -> str:
    """Return the progress shown between the confirmation and the outcomes: `terminating 24 sessions …`."""
    return f"{'cancelling' if plan.act is Act.CANCEL else 'terminating'} {plural_victims(plan)} …"


def plural_victims(plan: Plan, number: int | None = None) -> str:
    """Return what a plan ends with its number, all of it by default: `24 sessions`, `17 stalled logins`."""
    return plural(len(plan.victims) if number is None else number, *_nouns(plan))


def _nouns(plan: Plan) -> tuple[str, str]:
    if plan.act is Act.CANCEL:
        return "query", "queries"
    if plan.stalled_logins_seconds is not None:
        return "stalled login", "stalled logins"
    return "session", "sessions"


def age_option(plan: Plan) -> str:
    """Return the option that changes the idle age a sweep asks for; "" where there is none."""
    if plan.trigger is Trigger.BREAK_GLASS:
        return "" if plan.stalled_logins_seconds is not None else "--older-than"
    if plan.trigger is Trigger.EMERGENCY:
        return "--emergency-idle-after"
    return "--idle-after" if plan.trigger in (Trigger.ALWAYS, Trigger.USAGE) else ""


def age_hint(plan: Plan) -> str:
    """Return the option to change where no session is idle for long enough; "" if another reason counts.

    `--idle-after asks for another idle age`.
    """
    option = age_option(plan)
    reasons = {each.spared_for for each in plan.spared}
    if plan.victims or plan.refusal or plan.stall is not None or not option or reasons & _NOT_AGE:
        return ""
    return f"{option} asks for another idle age"


def outcome_sentence(report: Report) -> str:
    """Return the outcome of a plan in one line.

    `terminated 24 of 26 sessions: 1 left alone (changed: in use again, or gone), 1 denied`.
    """
    cancel = report.plan.act is Act.CANCEL
    done = report.count(Outcome.CANCELLED if cancel else Outcome.TERMINATED)
    verb = "cancelled" if cancel else "terminated"
    total = len(report.results)
    others = [
        f"{number} {_left_alone(report.plan) if outcome is Outcome.CHANGED else outcome}"
        for outcome in Outcome
        if outcome not in (Outcome.TERMINATED, Outcome.CANCELLED) and (number := report.count(outcome))
    ]
    if not others:
        return f"{verb} {plural_victims(report.plan, done)}"
    return f"{verb} {done} of {plural_victims(report.plan, total)}: {', '.join(others)}"


def _left_alone(plan: Plan) -> str:
    """Return what became of sessions that are not what they were when the plan was made."""
    if plan.act is Act.CANCEL:
        return "left alone (changed: done with that query, or gone)"
    if plan.stalled_logins_seconds is not None:
        return "left alone (changed: logged in, or gone)"
    return "left alone (changed: in use again, or gone)"
