"""The output of `pgtop reap`: the sessions terminated or to be, the reasons, and the usage after it."""

from pgtop.commands.text_table import TextColumn, paragraph, server_line, table_lines, text_of
from pgtop.core.canary import canary_sentence, intention
from pgtop.core.diagnosis.sweepable_kinds import none_found
from pgtop.core.outage import connecting_words
from pgtop.core.plan import Plan, Spared, Trigger, Victim
from pgtop.core.session_labels import NO_APPLICATION, NO_DATABASE, NO_USER, client, idle_age, label, state
from pgtop.core.stalled_logins import STALL_HELP
from pgtop.core.text import percent, plural, printable
from pgtop.reaping.plan_wording import (
    age_hint,
    by_application,
    headline,
    left_waiting,
    outcome_sentence,
    queue_sentence,
    spared_sentence,
    stall_sentence,
    usage_change,
    why,
)
from pgtop.reaping.report_json import Answer


def render(answer: Answer, width: int | None) -> str:
    """Return the whole answer in lines of at most `width` cells (None: any)."""
    plan = answer.plan
    lines = [server_line(plan.server, plan.taken_at)]
    said = [f"{answer.findings[0].mark} {answer.findings[0].sentence}"] if answer.findings else []
    lines += [line for each in (*said, *_what(answer)) for line in paragraph(each, width)]
    lines += [line for each in _two_steps(answer) for line in paragraph(each, width)]
    if plan.trigger is not Trigger.NONE:
        lines += [f"{number:>5}  {name}" for name, number in by_application(plan)]
        spared = spared_sentence(plan)
        lines += [spared] if spared else []
        lines += paragraph(plan.permission, width) if plan.permission else []
    if plan.victims or plan.spared:
        lines += ["", *_sessions(answer, width)]
    return text_of(lines, width)


def _two_steps(answer: Answer) -> list[str]:
    """Return a line for each application of a sweep with a canary."""
    canaries = answer.canaries
    if canaries is None:
        return []
    if answer.report is not None:
        return [f"canary: {canary_sentence(each)}" for each in canaries.seen]
    return [f"canary: {intention(each, canaries.pause_seconds)}" for each in canaries.chosen]


def _what(answer: Answer) -> list[str]:
    """Return a sentence or two on what was done or would be done."""
    plan = answer.plan
    if plan.stall is not None and not plan.victims:
        return [f"nothing terminated: {stall_sentence(plan.stall)}", f"what helps: {STALL_HELP}"]
    if plan.scope is not None and not plan.scope.sessions:
        return [f"nothing to do: {none_found(answer.only)}"]
    if plan.trigger is Trigger.NONE:
        taken = f"{plan.total} of {plural(plan.slots, 'slot')}, {percent(plan.usage_before)}"
        line = f"the {percent(plan.warn_at)} line (--always sweeps anyway)"
        if plan.usage_before <= plan.warn_at:
            return [f"nothing to do: {taken}, not above {line}"]
        held = f"; {connecting_words(plan.unlisted)}" if plan.unlisted else ""
        return [f"nothing to do: {taken}{held}; the sessions alone are not above {line}"]
    stall = [f"but {stall_sentence(plan.stall)}"] if plan.stall is not None else []
    if answer.report is None:
        hint = age_hint(plan)
        what = f"dry run: {headline(plan)}" if answer.dry_run else headline(plan)
        return [what, *filter(None, [hint, queue_sentence(plan), _left_waiting(plan)]), *stall]
    usage = usage_change(plan, answer.usage_after)
    name = "emergency: " if plan.trigger is Trigger.EMERGENCY else ""
    return [f"{name}{outcome_sentence(answer.report)}: {usage}", *stall]


def _left_waiting(plan: Plan) -> str:
    """Return a sentence on the sessions that wait for locks that no victim is known to hold; "" for none."""
    waiting = left_waiting(plan)
    if not waiting:
        return ""
    more, verb = "more " if plan.blocked_sessions else "", "waits" if waiting == 1 else "wait"
    noun = "session" if waiting == 1 else "sessions"
    said = f"{waiting} {more}{noun} {verb} for locks, and this does not help there"
    return f"{said}: b in the dashboard shows the session that blocks them"


def _sessions(answer: Answer, width: int | None) -> list[str]:
    plan = answer.plan
    sessions: list[Victim | Spared] = [*plan.victims, *plan.spared]
    backends = [each.backend for each in sessions]
    done, reasons = _marks(answer, plan)

    def names(attribute: str, empty: str) -> list[str]:
        return [label(getattr(backend, attribute), empty) for backend in backends]

    ages = [idle_age(backend, plan.taken_at) for backend in backends]
    return table_lines(
        [
            TextColumn("", done),
            TextColumn("pid", [str(backend.pid) for backend in backends], "right"),
            TextColumn("application", names("application_name", NO_APPLICATION), widest=20),
            TextColumn("user", names("usename", NO_USER), widest=16, drop=3),
            TextColumn("database", names("datname", NO_DATABASE), widest=16, drop=2),
            TextColumn("client", [client(backend) for backend in backends], drop=1),
            TextColumn("state", [state(backend) for backend in backends], drop=4),
            TextColumn("idle age", ages, "right"),
            TextColumn("why", reasons, widest=200),
        ],
        width,
    )


def _marks(answer: Answer, plan: Plan) -> tuple[list[str], list[str]]:
    """Return the outcome and the reason of each session in the plan, the victims first."""
    if answer.report is None:
        victims = [("terminate", why(each)) for each in plan.victims]
    else:
        victims = [
            (result.outcome.value, result.detail or result.victim.reason) for result in answer.report.results
        ]
    spared = [("skip", each.reason) for each in plan.spared]
    rows = victims + spared
    return [mark for mark, _ in rows], [printable(reason) for _, reason in rows]
