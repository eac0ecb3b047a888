"""The lines of `pgtop snapshot --watch`: one a poll, for people and screen readers, or as JSON."""

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Final

from pgtop.commands.snapshot.table import figures, level, state_counts
from pgtop.commands.text_table import server_words
from pgtop.core.activity import Snapshot
from pgtop.core.connection_limits import limit_uses, reached, refusal_sentence
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.diagnosis.steady import cause_of
from pgtop.core.json_text import json_line, timestamp
from pgtop.core.outage import Limit, Outage, OutageKind, connecting_words
from pgtop.core.server_change import succession
from pgtop.core.session_labels import monitor_grant
from pgtop.core.snapshot_json import SCHEMA, OutageReport, OutageWords, snapshot_report
from pgtop.core.text import clock, duration, printable

_NO_CAUSE: Final = "no cause found any more"


class WatchLines(ABC):
    """The text for each poll of a watch. An outage is told once, and again if its reason changes."""

    def __init__(self, warn_at: float) -> None:
        """`warn_at` is a fraction of the slots."""
        self.warn_at = warn_at
        self._outage: OutageKind | None = None
        self._ahead = 0
        """The microseconds that the server's clock was ahead of this host's at the last poll."""

    @abstractmethod
    def polled(
        self,
        snapshot: Snapshot,
        findings: Sequence[Finding],
        forecast: Forecast | None = None,
        refusing: Limit | None = None,
    ) -> str:
        """Return the line of a poll; `refusing` is the limit that refuses logins."""

    def outage(self, outage: Outage) -> str:
        """Return the line of a failed poll; "" if it is told already. Its time is by the server's clock."""
        if outage.kind is self._outage:
            return ""
        self._outage = outage.kind
        return self._outage_line(outage, _now() + self._ahead)

    @abstractmethod
    def _outage_line(self, outage: Outage, now: int) -> str: ...

    def _heard(self, snapshot: Snapshot) -> None:
        """Take note that the server answers, and of its clock."""
        self._outage, self._ahead = None, snapshot.taken_at - _now()


class JsonLines(WatchLines):
    """The lines as JSON: each poll is the object of `pgtop snapshot --json`."""

    def polled(
        self,
        snapshot: Snapshot,
        findings: Sequence[Finding],
        forecast: Forecast | None = None,
        refusing: Limit | None = None,
    ) -> str:
        """Return the line of a poll."""
        self._heard(snapshot)
        return json_line(snapshot_report(snapshot, self.warn_at, findings))

    def _outage_line(self, outage: Outage, now: int) -> str:
        return json_line(OutageReport(SCHEMA, OutageWords(outage.kind, outage.message), timestamp(now)))


class TextLines(WatchLines):
    """The lines as text: the time and the figures of each poll, and of the rest what is new.

    A screen reader reads all that is printed, so that nothing is repeated that the last lines said.
    """

    def __init__(self, warn_at: float) -> None:
        super().__init__(warn_at)
        self._last: Snapshot | None = None
        self._told: dict[str, object] = {}
        self._lost_at: float | None = None
        """The time of the outage's first line, by the monotonic clock."""
        self._counted: Collection[str] = ()

    def polled(
        self,
        snapshot: Snapshot,
        findings: Sequence[Finding],
        forecast: Forecast | None = None,
        refusing: Limit | None = None,
    ) -> str:
        """Return the line of a poll, after one with the server if that is new."""
        at = snapshot.taken_at
        lines = self._server_lines(snapshot)
        parts = [figures(snapshot)]
        if self._lost_at is not None:
            parts.insert(0, f"connected again after {duration(time.monotonic() - self._lost_at)}")
        self._heard(snapshot)
        self._lost_at = None
        cause = cause_of(findings[0]) if findings else None
        verdict = findings[0].sentence if findings else _NO_CAUSE if self._told.get("cause") else ""
        full = forecast.words(at) if forecast is not None else ""
        parts += self._if_new("level", self._level(snapshot, refusing))
        parts += self._if_new("rescue", _rescue(snapshot))
        parts += self._if_new("connecting", connecting_words(snapshot.unlisted) if snapshot.unlisted else "")
        parts += self._counts(snapshot)
        parts += self._if_new("limits", " · ".join(map(refusal_sentence, reached(limit_uses(snapshot)))))
        parts += self._if_new("cause", verdict, known_by=cause)
        parts += self._if_new("full", full)
        self._last = snapshot
        lines.append(f"{clock(at)}  {' · '.join(parts)}")
        return "".join(f"{line}\n" for line in lines)

    def _server_lines(self, snapshot: Snapshot) -> list[str]:
        """Return the lines about another server than before; all is told again after them."""
        change = succession(self._last, snapshot) if self._last is not None else ""
        if self._last is not None and not change:
            return []
        self._told.clear()
        at = clock(snapshot.taken_at)
        lines = [f"{at}  {each}" for each in (change, server_words(snapshot.server)) if each]
        if not snapshot.counts.exact:
            role = printable(snapshot.privileges.role)
            lines.append(f"{at}  states are hidden from role {role}; run: {monitor_grant(snapshot)}")
        return lines

    def _counts(self, snapshot: Snapshot) -> list[str]:
        """Return the counts of the states that have changed."""
        counts = state_counts(snapshot.counts)
        left = {name: f"0 {name}" for name in self._counted if name not in counts}
        self._counted = counts.keys()
        return [part for name, text in {**counts, **left}.items() for part in self._if_new(name, text)]

    def _level(self, snapshot: Snapshot, refusing: Limit | None) -> str:
        return f"new connections are refused: {refusing}" if refusing else level(snapshot, self.warn_at)

    def _if_new(self, name: str, text: str, *, known_by: object = None) -> list[str]:
        """Return the text, if it differs from the last one, or in what it is known by; [] otherwise."""
        key = known_by if known_by is not None else text
        if self._told.get(name, "") == key:
            return []
        self._told[name] = key if text != _NO_CAUSE else ""
        return [text] if text else []

    def _outage_line(self, outage: Outage, now: int) -> str:
        if self._lost_at is None:
            self._lost_at = time.monotonic()
        self._told.clear()
        return f"{clock(now)}  no data: {outage.message}; trying again\n"


def _now() -> int:
    """Return the time by this host's clock, in microseconds since the Unix epoch."""
    return time.time_ns() // 1000


def _rescue(snapshot: Snapshot) -> str:
    return (
        f"connected as {printable(snapshot.privileges.role)}, the rescue role" if snapshot.is_rescue else ""
    )
