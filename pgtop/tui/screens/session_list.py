"""The list in a dialog: the sessions of a plan or of a report, each with its reason or its outcome."""

from collections.abc import Hashable
from typing import ClassVar, Final

from pgtop.core.activity import Backend
from pgtop.core.plan import Act, Outcome, Result, Spared, Victim
from pgtop.core.session_labels import NO_APPLICATION, NO_DATABASE, NO_USER, client, idle_age, label, state
from pgtop.core.text import clip
from pgtop.reaping.plan_wording import why
from pgtop.tui.lines.column_widths import Cell, Column
from pgtop.tui.widgets.line_table import LineTable

Judged = Victim | Spared


class SessionList(LineTable[Judged | Result]):
    """The sessions of a plan or of a report, each with its reason or its outcome."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mark", "", 9),
        Column("pid", "PID", 7, right=True),
        Column("application", "application", 14, grow=12, squeezed=3),
        Column("user", "user", 8, grow=8, drop=3),
        Column("database", "database", 8, grow=8, drop=2),
        Column("client", "client", 15, grow=8, drop=1),
        Column("state", "state", 11, drop=4),
        Column("age", "idle age", 8, right=True, squeezed=2),
        Column("why", "why", 0, squeezed=1),
    )
    LAST_WIDTH: ClassVar[int] = 24

    def __init__(self, *, now: int, act: Act, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._now = now
        self._act = act

    def key_of(self, row: Judged | Result) -> Hashable:
        return _backend(row).id

    def cell(self, row: Judged | Result, column: str, width: int) -> Cell:
        backend = _backend(row)
        match column:
            case "mark":
                return self._mark(row)
            case "pid":
                return Cell(str(backend.pid))
            case "application":
                return Cell(label(backend.application_name, NO_APPLICATION))
            case "user":
                return Cell(label(backend.usename, NO_USER))
            case "database":
                # If the two cannot be told apart, the user's column has both.
                return Cell("?" if backend.readings else label(backend.datname, NO_DATABASE))
            case "client":
                return Cell(client(backend))
            case "state":
                return Cell(state(backend))
            case "age":
                return Cell(idle_age(backend, self._now))
            case _:
                return self._why(row, width)

    def _mark(self, row: Judged | Result) -> Cell:
        if isinstance(row, Result):
            return Cell(row.outcome.value, OUTCOME_STYLES[row.outcome])
        if isinstance(row, Spared):
            return Cell("skip", "dim")
        return Cell("cancel" if self._act is Act.CANCEL else "terminate", "red")

    def _why(self, row: Judged | Result, width: int) -> Cell:
        if isinstance(row, Result):
            return Cell(clip(row.detail or row.victim.reason, width))
        if isinstance(row, Victim) and row.warning:
            return Cell(clip(row.warning, width), "amber")
        if isinstance(row, Victim):
            return Cell(clip(why(row), width))
        return Cell(clip(row.reason, width), "dim" if isinstance(row, Spared) else "")


class OutcomeList(SessionList):
    """The sessions of a report; an outcome needs a wider column than a plan's mark."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (Column("mark", "", 10), *SessionList.COLUMNS[1:])


_ON_HOST: Final = (
    *SessionList.COLUMNS[1:2],
    Column("user", "user", 10, grow=12, squeezed=3),
    Column("database", "database", 10, grow=12, drop=2),
    *SessionList.COLUMNS[5:],
)
"""Without the application, which is not visible from the host."""


class HostSessionList(SessionList):
    """The sessions of a plan that was made on the server's own host."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (SessionList.COLUMNS[0], *_ON_HOST)


class HostOutcomeList(SessionList):
    """The sessions of a report of such a plan."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (OutcomeList.COLUMNS[0], *_ON_HOST)


OUTCOME_STYLES: Final = {
    Outcome.TERMINATED: "good",
    Outcome.CANCELLED: "good",
    Outcome.CHANGED: "",
    Outcome.DENIED: "amber",
    Outcome.SURVIVED: "red",
    Outcome.FAILED: "red",
    Outcome.UNKNOWN: "red",
}


def _backend(row: Judged | Result) -> Backend:
    return row.victim.backend if isinstance(row, Result) else row.backend
