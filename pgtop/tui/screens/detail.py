"""DetailScreen: the details of a session, with the whole query, locks and blockers, asked for on demand."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen

from pgtop.concurrency import undisturbed
from pgtop.core.activity import Backend, instant, seconds_between
from pgtop.core.blocking import PREPARED
from pgtop.core.session_labels import HIDDEN, NO_APPLICATION, NO_DATABASE, NO_USER, client, label, state, wait
from pgtop.core.text import ago, clip, duration, printable, printable_lines
from pgtop.errors import PgtopError
from pgtop.postgres.backend_detail import BackendDetail, Lock, backend_detail
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.widgets.painted_lines import Lines

LONGEST_QUERY_LINES = 2_000
_NAMED_BY_TARGET = frozenset({"relation", "transactionid", "virtualxid"})
"""Kinds of locks whose target names the kind itself."""


class DetailScreen(ModalScreen[None]):
    """The details of one session, as the server gives them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close"),
        Binding("r", "ask", "Refresh"),
    ]

    def __init__(self, own_connection: OwnConnection, backend: Backend) -> None:
        super().__init__()
        self._own_connection = own_connection
        self._backend = backend
        self._text = Lines(id="detail-text")
        self._scroll = VerticalScroll(self._text, id="detail-scroll")
        self._keys = Lines(id="detail-keys")

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog", classes="detail"):
            yield self._scroll
            yield self._keys

    def on_mount(self) -> None:
        self._scroll.focus()
        keys = [Cell(" Esc", "key", "screen.dismiss"), Cell(" close  ", "dim", "screen.dismiss")]
        keys += [Cell("r", "key", "screen.ask"), Cell(" refresh  ", "dim", "screen.ask")]
        keys += [Cell("↑ ↓", "key"), Cell(" scroll", "dim")]
        self._keys.show([keys])
        self._text.fit([[Cell(f" session {self._backend.pid}: loading …", "dim")]])
        self.action_ask()

    def action_ask(self) -> None:
        """Ask the server again."""
        self.run_worker(self._ask(), name="detail", group="detail", exclusive=False)

    async def _ask(self) -> None:
        try:
            detail = await undisturbed(backend_detail(self._own_connection, self._backend.id))
        except PgtopError as error:
            self._text.fit([[Cell(f" {error}", "red")]])
            return
        if detail is None:
            self._text.fit([[Cell(f" session {self._backend.pid} is gone", "strong-amber")]])
        else:
            self._text.fit(detail_lines(detail, max(20, self._scroll.size.width - 2)))


def detail_lines(detail: BackendDetail, width: int) -> list[list[Cell]]:
    """Return all that is known of a session, in lines of at most `width` cells."""
    backend, now = detail.backend, detail.now
    host = f" ({printable(detail.client_hostname)})" if detail.client_hostname else ""
    idle = backend.idle_seconds(now)
    facts = [
        ("application", label(backend.application_name, NO_APPLICATION)),
        ("user", label(backend.usename, NO_USER) + (" (superuser)" if backend.is_superuser else "")),
        ("database", label(backend.datname, NO_DATABASE)),
        ("client", f"{client(backend)}{host}"),
        ("TLS", printable(detail.tls) or "no"),
        ("state", _state(backend, now)),
        ("idle age", duration(idle) if idle is not None else "not idle"),
        ("session began", _moment(backend.backend_start, now)),
        ("transaction began", _moment(backend.xact_start, now)),
        ("query began", _moment(backend.query_start, now)),
        ("waits for", printable(wait(backend)) or "nothing"),
        ("transaction id", printable(detail.backend_xid) or "none"),
        ("xmin", printable(detail.backend_xmin) or "none"),
        ("blocked by", _pids(detail.blocked_by)),
        ("blocks", _pids(detail.blocks)),
    ]
    lines = [[Cell(f" session {backend.pid}", "title")], []]
    for name, value in facts:
        alarming = name in ("blocked by", "blocks") and value != "none"
        lines.append([Cell(f" {name:<18} ", "dim"), Cell(clip(value, width - 20), "red" if alarming else "")])
    lines += [[], [Cell(" query" if backend.state == "active" else " last query", "title")]]
    if detail.query is None:
        lines.append([Cell(f" {HIDDEN} (hide_queries)", "dim")])
    else:
        pieces = wrapped(detail.query, width - 1)
        lines += [[Cell(f" {piece}")] for piece in pieces] or [[Cell(" none", "dim")]]
    lines += [[], [Cell(f" locks: {len(detail.locks)}", "title")]]
    lines += [_lock(lock, width) for lock in detail.locks]
    return lines


def _state(backend: Backend, now: int) -> str:
    word, since = backend.state or state(backend), backend.state_change
    if since is None:
        return word
    return f"{word} for {duration(seconds_between(since, now))} ({_clock(since, now)})"


def _moment(microseconds: int | None, now: int) -> str:
    if microseconds is None:
        return "none"
    return f"{ago(seconds_between(microseconds, now))} ({_clock(microseconds, now)})"


def _clock(microseconds: int, now: int) -> str:
    """Return the time of day, with the date if it is not today's."""
    day, today = (f"{instant(at):%Y-%m-%d}" for at in (microseconds, now))
    time_of_day = f"{instant(microseconds):%H:%M:%S} UTC"
    return time_of_day if day == today else f"{day} {time_of_day}"


def _pids(pids: tuple[int, ...]) -> str:
    words = ["a prepared transaction" if pid == PREPARED else str(pid) for pid in pids]
    return ", ".join(words) or "none"


def _lock(lock: Lock, width: int) -> list[Cell]:
    granted = Cell(" holds  ", "dim") if lock.granted else Cell(" waits  ", "red")
    target = printable(lock.target)
    named = target if lock.locktype in _NAMED_BY_TARGET else f"{lock.locktype} {target}"
    return [granted, Cell(clip(f"{lock.mode} on {named}", width - 8))]


def wrapped(query: str, width: int) -> list[str]:
    """Return a query in at most 2,000 printable lines of at most `width` cells, with its indentation."""
    pieces: list[str] = []
    for text in printable_lines(query):
        rest = text
        while rest and len(pieces) < LONGEST_QUERY_LINES:
            piece = clip(rest, width, "")
            pieces.append(piece)
            rest = rest[len(piece) :]
        if not text:
            pieces.append("")
    return pieces[:LONGEST_QUERY_LINES]
