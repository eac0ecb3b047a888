"""The list in a dialog: the sessions of a plan or of a report, each with its reason or its outcome."""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Final

from pgtop.core.activity import IN_TRANSACTION, Backend
from pgtop.core.plan import Act, Outcome, Result, Spared, Victim
from pgtop.core.session_labels import (
    NO_APPLICATION,
    NO_DATABASE,
    NO_USER,
    address,
    client,
    idle_age,
    label,
    state,
)
from pgtop.core.text import cell_width, clip, duration, printable
from pgtop.reaping.plan_wording import remark, why
from pgtop.tui.lines.column_widths import Cell, Column
from pgtop.tui.widgets.line_table import LineTable

Judged = Victim | Spared

_EVIDENCE: Final = frozenset({"client", "xact"})


class SessionList(LineTable[Judged | Result]):
    """The sessions of a plan or of a report: what each does, and why it is skipped or what became of it."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mark", "", 1),
        Column("pid", "PID", 7, right=True),
        Column("application", "application", 12, grow=16, squeezed=3),
        Column("user", "user", 8, grow=8, drop=2),
        Column("database", "database", 9, grow=8, drop=1),
        Column("client", "client", 15, grow=8, drop=4),
        Column("state", "state", 11, drop=3),
        Column("age", "idle age", 8, right=True, squeezed=2),
        Column("xact", "in txn", 7, right=True, drop=5),
        Column("query", "query", 0, squeezed=1),
    )
    LAST_WIDTH: ClassVar[int] = 24
    ROOM_FOR_CLIENT: ClassVar[int] = 68
    """The least width in which the evidence stands whatever is left for the query."""

    def __init__(self, *, now: int, act: Act, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._now = now
        self._act = act

    def key_of(self, row: Judged | Result) -> Hashable:
        return _backend(row).id

    def columns(self, width: int) -> Sequence[Column]:
        # The client is evidence: where there is room for it at all, other columns make way. The transaction's
        # age has a column only if it tells more than another, of a session that is acted on.
        found = super().columns(width)
        if not any(_has_transaction(_backend(row)) for row in self.rows if not isinstance(row, Spared)):
            found = [column for column in found if column.key != "xact"]
        if width < self.ROOM_FOR_CLIENT:
            return found
        return [column._replace(drop=0) if column.key in _EVIDENCE else column for column in found]

    def head_title(self, column: Column) -> str:
        if column.key == "age" and self._act is Act.CANCEL:
            return "running"
        if column.key == "query":
            is_hidden = bool(self.rows) and all(_backend(row).query is None for row in self.rows)
            skips = any(isinstance(row, Spared) for row in self.rows)
            return ("query: hidden" if is_hidden else "query") + (" · why skipped" if skips else "")
        return column.title

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
                shown = client(backend)
                # A port that is cut off reads as another one.
                return Cell(shown if cell_width(shown) <= width else printable(address(backend)))
            case "state":
                return Cell(state(backend))
            case "age":
                return self._age(backend)
            case "xact":
                return Cell(duration(backend.xact_seconds(self._now)))
            case "query":
                return self._query(row, width)
            case _:
                return self._why(row, width)

    def _age(self, backend: Backend) -> Cell:
        """Return the idle age, or for a cancellation the statement's; where no column has it, the state."""
        if self._act is Act.CANCEL:
            return Cell(duration(backend.query_seconds(self._now)))
        age = idle_age(backend, self._now)
        is_state_shown = any(column.key == "state" for column, _ in self._laid_out)
        return Cell(age if age or is_state_shown else state(backend).removeprefix("idle "))

    def _mark(self, row: Judged | Result) -> Cell:
        if isinstance(row, Result):
            return Cell(row.outcome.value, OUTCOME_STYLES[row.outcome])
        return Cell("–", "dim") if isinstance(row, Spared) else Cell("✗", "red")

    def _query(self, row: Judged | Result, width: int) -> Cell:
        """Return the statement, behind what else is to be known; of a skipped session, the reason."""
        if isinstance(row, Spared):
            return Cell(clip(row.reason, width), "dim")
        if isinstance(row, Result):
            said, style = row.detail, ""
        else:
            said, style = remark(row), "amber" if row.warning else ""
        query = printable(_backend(row).query)
        return Cell(clip(" · ".join(filter(None, (said, query))), width), style)

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
    ROOM_FOR_CLIENT: ClassVar[int] = 78


_ON_HOST: Final = (
    Column("pid", "PID", 7, right=True),
    Column("user", "user", 10, grow=12, squeezed=3),
    Column("database", "database", 10, grow=12, drop=2),
    Column("client", "client", 15, grow=8, drop=1),
    Column("state", "state", 11, drop=4),
    Column("age", "idle age", 8, right=True, squeezed=2),
    Column("why", "why", 0, squeezed=1),
)
"""Without the application and the query, which are not visible from the host."""


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


def _has_transaction(backend: Backend) -> bool:
    """Return whether a session is in a transaction that is older than its query."""
    return backend.xact_start is not None and (
        backend.state in IN_TRANSACTION or backend.xact_start != backend.query_start
    )
