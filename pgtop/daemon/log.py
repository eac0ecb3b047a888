"""The daemon's log: one line for each thing that happens and none while nothing does, for people or as JSON.

Text from a server passes `printable()`; a statement is only repeated where that was asked for.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, TextIO

from pgtop.audit.log import Sink
from pgtop.audit.rotating_files import DEFAULT_LOCK_SECONDS
from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.connection_limits import LimitUse, refusal_sentence
from pgtop.core.diagnosis.findings import Finding, Kind
from pgtop.core.json_text import json_line, optional_timestamp, timestamp
from pgtop.core.masking import masked
from pgtop.core.outage import Outage
from pgtop.core.plan import Outcome, Plan, ReapPolicy, Result, SparedFor, Trigger
from pgtop.core.retaken_slots import Patience, Rebound
from pgtop.core.session_labels import NO_APPLICATION, NO_DATABASE, NO_USER, client, label
from pgtop.core.stalled_logins import STALL_HELP, Stall
from pgtop.core.text import duration, percent, plural, printable, span
from pgtop.daemon.line_writer import LineWriter
from pgtop.reaping.plan_wording import queue_sentence, stall_sentence, usage_change, wont_hold_sentence
from pgtop.reaping.reaper import Report

_DONE: Final = frozenset({Outcome.TERMINATED, Outcome.CHANGED})


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone()
        level = "" if record.levelno < logging.WARNING else f"{record.levelname} "
        return f"{when:%Y-%m-%d %H:%M:%S} {level}{printable(record.getMessage())}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = getattr(record, "event", {})
        line = {
            "time": timestamp(int(record.created * MICROSECONDS)),
            "level": record.levelname.lower(),
            **event,
            "message": printable(record.getMessage()),
        }
        return json_line(line).removesuffix("\n")


class _ToStream(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of the method it replaces
        """Carry on although the log's reader has left."""


class _ToWriter(logging.Handler):
    """Hand lines over to a thread, so that a stalled reader does not stall the daemon."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        super().__init__()
        self.writer = LineWriter(descriptor, encoding, self._gap)

    def emit(self, record: logging.LogRecord) -> None:
        self.writer.write(self.format(record) + "\n")

    def _gap(self, number: int) -> str:
        said = f"{plural(number, 'line')} of this log left out: its reader was too slow"
        record = logging.LogRecord("pgtop.daemon", logging.WARNING, "", 0, said, None, None)
        record.event = {"event": "left_out", "lines": number}
        return self.format(record) + "\n"


class _AuditStream:
    """The audit log's way through the same thread: a line is written, or an OSError says that it is not."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def write(self, text: str) -> None:
        self._writer.deliver(text, DEFAULT_LOCK_SECONDS)

    def flush(self) -> None:
        """Nothing is kept back."""


class DaemonLog:
    """The daemon's log, written to one stream."""

    def __init__(self, stream: TextIO | None, *, as_json: bool = False, queries: bool = False) -> None:
        self.queries = queries
        """True if the log repeats the victims' statements."""
        self._handler: logging.Handler
        self._writer: LineWriter | None = None
        self.audit_stream: Sink | None = None
        """The destination of an audit log asked for on the same stream; None for the stream itself."""
        if stream is None or (descriptor := _descriptor(stream)) is None:
            self._handler = _ToStream(stream)
        else:
            self._handler = to_writer = _ToWriter(descriptor, stream.encoding)
            self._writer = to_writer.writer
            self.audit_stream = _AuditStream(to_writer.writer)
        self._logger = logging.getLogger("pgtop.daemon")
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._logger.handlers = [self._handler]
        self.as_json(as_json)

    @property
    def lost(self) -> int:
        """The number of lines dropped because the stream's reader stalled or had left."""
        return 0 if self._writer is None else self._writer.lost

    def close(self) -> None:
        """Write what waits, within seconds where the stream's reader stands still; nothing is said after."""
        if self._writer is not None:
            self._writer.close()

    def as_json(self, yes: bool) -> None:
        """From now on as JSON lines, or as text."""
        self._handler.setFormatter(_Json() if yes else _Text())

    def tell(self, event: str, said: str, *, warning: bool = False, **fields: object) -> None:
        """One line; `fields` are what the JSON has beside the words."""
        level = logging.WARNING if warning else logging.INFO
        self._logger.log(level, "%s", said, extra={"event": {"event": event, **fields}})

    def limit_reached(self, use: LimitUse) -> None:
        """Log that a role or a database has reached its CONNECTION LIMIT, which no sweep for usage sees."""
        self.tell(
            "limit_reached",
            refusal_sentence(use),
            warning=True,
            kind=use.limit.of,
            name=use.limit.name,
            limit=use.limit.most,
            used=use.used,
        )

    def connected(
        self, snapshot: Snapshot, after_seconds: float | None, *, change: str = "", stayed: bool = False
    ) -> None:
        """Log that pgtop connected, again after some seconds.

        `change` is the sentence on a server that was restarted, promoted or replaced; "" if it was not.
        `stayed` tells that the connection was not lost: the server changed while it was open.
        """
        server = snapshot.server
        kind = "standby" if server.identity.in_recovery else "primary"
        role = snapshot.privileges.role
        rescue = f" as {printable(role)}, the rescue role" if snapshot.is_rescue else ""
        again = "" if after_seconds is None or stayed else f" again, after {duration(after_seconds)}"
        self.tell(
            "connected",
            f"{'still ' if stayed else ''}connected to {server.address}{rescue}{again}: "
            f"PostgreSQL {server.version}, {kind}, {snapshot.taken} of {plural(snapshot.slots, 'slot')} taken"
            f"{f'; {change}' if change else ''}",
            warning=bool(change),
            server=server.address,
            version_num=server.version_num,
            in_recovery=server.identity.in_recovery,
            slots=snapshot.slots,
            total=snapshot.taken,
            role=role,
            rescue=snapshot.is_rescue,
        )

    def outage(self, outage: Outage) -> None:
        """A poll gave no data."""
        said = f"no data: {outage.message}; retrying"
        self.tell("outage", said, warning=True, kind=outage.kind)

    def swept(self, report: Report) -> None:
        """A sweep, and each of its victims."""
        plan = report.plan
        ended = report.count(Outcome.TERMINATED)
        others = {each: n for each in Outcome if each is not Outcome.TERMINATED and (n := report.count(each))}
        rest = "".join(f", {number} {each}" for each, number in others.items())
        after = report.usage_after
        emergency = plan.trigger is Trigger.EMERGENCY
        name = "emergency" if emergency else "sweep"
        self.tell(
            "sweep",
            f"{name}: terminated {ended} of {plural(len(report.results), 'session')}{rest}, "
            f"usage {usage_change(plan, after)}{_hidden_by_names(plan)}",
            warning=emergency or any(each not in _DONE for each in others),
            trigger=plan.trigger,
            usage_before=plan.usage_before,
            usage_after=after,
            victims=len(report.results),
            outcomes={each: report.count(each) for each in Outcome if report.count(each)},
        )
        for result in report.results:
            self._victim(result, plan)
        if report.audit_problem:
            self.tell("audit", f"the outcomes are not in the audit log: {report.audit_problem}", warning=True)

    def would_sweep(self, plan: Plan) -> None:
        """Log what a sweep would have done."""
        before, after = percent(plan.usage_before), percent(plan.usage_after)
        self.tell(
            "dry_run",
            f"dry run: would terminate {plural(len(plan.victims), 'session')}, usage {before} → {after}"
            f"{_hidden_by_names(plan)}{_queue(plan)}",
            trigger=plan.trigger,
            usage_before=plan.usage_before,
            usage_after=plan.usage_after,
            victims=len(plan.victims),
            blocked_sessions=plan.blocked_sessions,
        )

    def _victim(self, result: Result, plan: Plan) -> None:
        backend = result.victim.backend
        known = masked(result.detail)
        detail = f" ({known})" if known else ""
        query = f": {printable(backend.query)}" if self.queries else ""
        self.tell(
            "victim",
            f"  {result.outcome} {backend.pid} {label(backend.application_name, NO_APPLICATION)} "
            f"{label(backend.usename, NO_USER)}@{label(backend.datname, NO_DATABASE)} {client(backend)} "
            f"{result.victim.reason}{detail}{query}",
            warning=result.outcome not in _DONE,
            pid=backend.pid,
            backend_start=optional_timestamp(backend.backend_start),
            application_name=backend.application_name,
            usename=backend.usename,
            datname=backend.datname,
            client_addr=backend.client_addr,
            idle_seconds=backend.idle_seconds(plan.taken_at),
            reason=result.victim.reason,
            outcome=result.outcome,
            **({"detail": known} if known else {}),
            **({"query": backend.query} if self.queries else {}),
        )

    def rebounded(self, measured: Rebound) -> None:
        """Log how much of a sweep's room is taken again, if any is."""
        if not measured.taken:
            return
        names = _named(measured.again.items())
        self.tell(
            "rebound",
            f"{measured.after_seconds:g}s after the sweep {measured.taken} of {measured.freed} freed slots "
            f"are taken again: {names}",
            after_seconds=measured.after_seconds,
            freed=measured.freed,
            again=dict(measured.again),
        )

    def found(self, finding: Finding) -> None:
        """Log a cause of what fills the server; its statements only if the log repeats statements."""
        self.tell(
            "finding",
            finding.sentence if self.queries else finding.sentence_without_statements,
            kind=finding.kind,
            grade=finding.grade,
            slots=finding.slots,
            application_name=finding.application_name,
            usename=finding.usename,
            datname=finding.datname,
        )

    def wont_hold(self, finding: Finding) -> None:
        """Log that what is swept is taken again at once, before several sweeps have shown it."""
        self.tell(
            "wont_hold",
            f"sweeping will not hold: {wont_hold_sentence(finding)}; --only leak,silent_clients keeps its "
            "hands off",
            warning=True,
            kind=finding.kind,
            application_name=finding.application_name,
        )

    def hands_off(self, reason: str, *, emergency: bool) -> None:
        """Log that nothing is swept, since no finding is of a kind asked for."""
        usage = "no slot is left" if emergency else "over the line"
        self.tell("hands_off", f"{usage}, and {reason}", warning=True, reason=reason)

    def rests(self, patience: Patience) -> None:
        """Sweeping for usage rests, since it did not help."""
        name = label(patience.application, NO_APPLICATION)
        self.tell(
            "rest",
            f"SWEEPING PAUSED for {span(patience.rest_seconds)}: {patience.futile} sweeps in a "
            f"row did not help, since {name} took its slots back at once. Make its pool smaller, or let it "
            "close idle sessions; emergency sweeps continue",
            warning=True,
            application_name=patience.application,
            futile=patience.futile,
            rest_seconds=patience.rest_seconds,
        )

    def stalled(self, stall: Stall) -> None:
        """Log that clients still connecting keep logins out, which terminating sessions does not help."""
        rule = "at most one session is terminated, as a try"
        self.tell(
            "stall",
            f"LOGINS ARE STALLED: {stall_sentence(stall)}; {rule}. What helps: {STALL_HELP}",
            warning=True,
            connecting=stall.connecting,
            sessions=stall.sessions,
            slots=stall.slots,
            addresses=dict(stall.addresses),
        )

    def nobody(self, plan: Plan, policy: ReapPolicy) -> None:
        """Log that a sweep was due, but no session may be terminated."""
        emergency = plan.trigger is Trigger.EMERGENCY
        age = policy.emergency_idle_after_seconds if emergency else policy.idle_after_seconds
        spared = Counter(each.spared_for.value for each in plan.spared)
        why = plan.refusal or f"no session that may be terminated is idle for more than {span(age)}"
        also = f"; skipped: {_named(spared.items())}" if spared else ""
        also += f"; {plan.permission}" if plan.permission else ""
        how = "no slot is left" if emergency else f"usage is {percent(plan.usage_before)}"
        self.tell(
            "nobody",
            f"{how}, but nothing can be terminated: {why}{also}",
            warning=True,
            trigger=plan.trigger,
            usage=plan.usage_before,
            spared=dict(spared),
        )


def _descriptor(stream: TextIO) -> int | None:
    """The descriptor behind a stream; None where there is none."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def summary(policy: ReapPolicy, every_seconds: float, only: Sequence[Kind] = ()) -> str:
    """The rules in one sentence. `only` has the kinds of findings that sweeps are bound to.

    >>> summary(ReapPolicy(), 60.0)
    'above 80%, sessions idle for more than 5m are terminated, at most every 1m'
    """
    age, listed = span(policy.idle_after_seconds), ", ".join(only)
    return (
        f"above {percent(policy.warn_at)}, sessions idle for more than {age} are terminated, "
        f"at most every {span(every_seconds)}{f', only of findings: {listed}' if listed else ''}"
    )


def _hidden_by_names(plan: Plan) -> str:
    """`; 3 protected by their names` of an emergency's plan: any client can give itself such a name."""
    number = sum(each.spared_for is SparedFor.NAMED for each in plan.spared)
    if not number or plan.trigger is not Trigger.EMERGENCY:
        return ""
    return f"; {number} protected by {'its name' if number == 1 else 'their names'}"


def _queue(plan: Plan) -> str:
    """`; 3 sessions wait for locks behind 4711` of a plan; "" if none does."""
    said = queue_sentence(plan)
    return f"; {said}" if said else ""


def _named(numbers: Iterable[tuple[str, int]]) -> str:
    """`3 protected, 1 holding an advisory lock`, the most first; five at most."""
    ranked = sorted(numbers, key=lambda item: (-item[1], item[0]))
    said = [f"{number} {label(name, NO_APPLICATION)}" for name, number in ranked[:5]]
    return ", ".join([*said, f"and {len(ranked) - 5} more"] if len(ranked) > 5 else said)
