"""The result of one run of the reaper, for a command's exit status and its JSON.

The structs are the JSON's schema: their fields and their order are a contract.
"""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.core.activity import Backend
from pgtop.core.canary import Canary, Seen, canary_sentence, intention
from pgtop.core.diagnosis.findings import Finding, Kind
from pgtop.core.diagnosis.report import FindingReport, finding_report
from pgtop.core.json_text import optional_timestamp
from pgtop.core.plan import Plan, Trigger
from pgtop.exit_codes import ExitCode
from pgtop.reaping.reaper import Report

SCHEMA: Final = 1


class Canaries(msgspec.Struct, frozen=True):
    """The two steps of a sweep with a canary."""

    pause_seconds: float
    chosen: tuple[Canary, ...]
    seen: tuple[Seen, ...] = ()
    """The applications after the pause; none in a dry run."""
    first_usage: float | None = None
    """The usage after the first step; None in a dry run."""
    problem: str = ""
    """The reason the second step was not taken; "" if it was, or was not needed."""


class Answer(msgspec.Struct, frozen=True):
    """The result of one run."""

    plan: Plan
    report: Report | None
    """The report; None for a dry run, and if there was no session to terminate."""
    dry_run: bool
    usage_after: float
    """Measured by a poll after a real run; the plan's for a dry one."""
    findings: tuple[Finding, ...] | None = None
    """The findings of the snapshot that the plan was made from; None if none were looked for."""
    only: tuple[Kind, ...] = ()
    """The kinds of findings that the plan is bound to; none if it is not."""
    canaries: Canaries | None = None
    """The two steps; None if it was one."""

    @property
    def warning(self) -> str:
        """A note for a person, beside the outcomes; "" for none."""
        problem = self.report.audit_problem if self.report is not None else ""
        if self.canaries is not None and self.canaries.problem:
            return f"only the canary was terminated: {self.canaries.problem}"
        return f"the outcomes are not in the audit log: {problem}" if problem else ""

    @property
    def exit_code(self) -> ExitCode:
        """The report's exit code; PARTLY at best if rights or the outcomes' lines are missing."""
        if self.report is None:
            nothing = not self.plan.victims and self.plan.leaves_forbidden
            return ExitCode.NOT_PERMITTED if nothing else ExitCode.DONE
        code = self.report.exit_code
        problem = self.report.audit_problem or (self.canaries is not None and self.canaries.problem)
        is_partial = problem or self.plan.leaves_forbidden
        return ExitCode.PARTLY if is_partial and code is ExitCode.DONE else code


class SessionReport(msgspec.Struct, frozen=True):
    """One session of the plan; null is what the server has no value for."""

    pid: int
    backend_start: str | None
    state_change: str | None
    application_name: str | None
    usename: str | None
    datname: str | None
    client_addr: str | None
    state: str | None
    idle_seconds: float | None
    reason: str
    outcome: str | UnsetType | None
    """null in a dry run; left out for skipped sessions."""
    idle_at_least: Literal[True] | UnsetType = UNSET
    """true where `idle_seconds` is a lower bound; left out otherwise."""
    blocked_sessions: int | UnsetType = UNSET
    """The sessions that wait for a victim's locks; left out if that is unknown, and for skipped sessions."""


class CanaryApplicationReport(msgspec.Struct, frozen=True):
    """One application. null is what a dry run cannot tell."""

    application_name: str
    pid: int
    """The session that goes first."""
    outcome: str | None
    before: int
    """Its sessions when the plan was made."""
    after: int | None
    """Its sessions after the pause."""
    came_back: bool | None
    others: int
    """The other sessions of the plan."""
    sentence: str


class CanaryStepsReport(msgspec.Struct, frozen=True):
    """The two steps."""

    pause_seconds: float
    usage_after: float | None
    """The usage after the first step; null in a dry run."""
    applications: tuple[CanaryApplicationReport, ...]


class ReapReport(msgspec.Struct, frozen=True):
    """One run."""

    schema: int
    trigger: Trigger
    usage_before: float | None
    """null where nobody knows how many slots there are, as only on a host without rights to ask."""
    usage_after: float | None
    dry_run: bool
    victims: tuple[SessionReport, ...]
    """The longest idle first."""
    spared: tuple[SessionReport, ...]
    connecting: int | UnsetType = UNSET
    """The slots held by clients still connecting; left out if none are known of."""
    blocked_sessions: int | UnsetType = UNSET
    """The sessions that wait behind any of the victims, each counted once; left out if that is unknown."""
    permission: str | UnsetType = UNSET
    """The number of skipped sessions that the role may not terminate, with the grant that helps.

    Left out for none.
    """
    findings: tuple[FindingReport, ...] | UnsetType = UNSET
    """The findings when the plan was made, the heaviest first; left out without a diagnosis."""
    only: tuple[Kind, ...] | UnsetType = UNSET
    """The kinds of findings that were asked for; left out if none were."""
    canary: CanaryStepsReport | UnsetType = UNSET
    """The two steps of a sweep with a canary; left out for others."""


def as_report(answer: Answer) -> ReapReport:
    """Return the result of a run in the words of the JSON."""
    plan, now = answer.plan, answer.plan.taken_at
    has_slots = plan.server.limits.are_known
    results = answer.report.results if answer.report else ()
    outcomes = {result.victim.backend.id: result.outcome.value for result in results}
    return ReapReport(
        schema=SCHEMA,
        trigger=plan.trigger,
        usage_before=plan.usage_before if has_slots else None,
        usage_after=answer.usage_after if has_slots else None,
        dry_run=answer.dry_run,
        victims=tuple(
            _session(each.backend, now, each.reason, outcomes.get(each.backend.id), each.blocked_sessions)
            for each in plan.victims
        ),
        spared=tuple(_session(each.backend, now, each.reason, UNSET) for each in plan.spared),
        connecting=(plan.stall.connecting if plan.stall is not None else plan.unlisted) or UNSET,
        blocked_sessions=UNSET if plan.blocked_sessions is None else plan.blocked_sessions,
        permission=plan.permission or UNSET,
        findings=UNSET if answer.findings is None else tuple(map(finding_report, answer.findings)),
        only=answer.only or UNSET,
        canary=UNSET if answer.canaries is None else _canary(answer.canaries),
    )


def _canary(canaries: Canaries) -> CanaryStepsReport:
    seen = {each.canary.application_name: each for each in canaries.seen}

    def one(canary: Canary) -> CanaryApplicationReport:
        known = seen.get(canary.application_name)
        return CanaryApplicationReport(
            application_name=canary.application_name,
            pid=canary.first.backend.pid,
            outcome=known.outcome if known is not None else None,
            before=canary.before,
            after=known.after if known is not None else None,
            came_back=known.came_back if known is not None and known.after is not None else None,
            others=len(canary.others),
            sentence=intention(canary, canaries.pause_seconds) if known is None else canary_sentence(known),
        )

    return CanaryStepsReport(canaries.pause_seconds, canaries.first_usage, tuple(map(one, canaries.chosen)))


def _session(
    backend: Backend,
    now: int,
    reason: str,
    outcome: str | UnsetType | None,
    blocked_sessions: int | None = None,
) -> SessionReport:
    return SessionReport(
        pid=backend.pid,
        backend_start=optional_timestamp(backend.backend_start),
        state_change=optional_timestamp(backend.state_change),
        application_name=backend.application_name,
        usename=backend.usename,
        datname=backend.datname,
        client_addr=backend.client_addr,
        state=backend.state,
        idle_seconds=backend.idle_seconds(now),
        reason=reason,
        outcome=outcome,
        idle_at_least=True if backend.idle_at_least else UNSET,
        blocked_sessions=UNSET if blocked_sessions is None else blocked_sessions,
    )
