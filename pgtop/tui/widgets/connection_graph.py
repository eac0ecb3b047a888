"""The widget of the connection graph: it redraws only what would look different."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.event_marks import Mark
from pgtop.core.sample_history import History
from pgtop.tui.lines.graph_area import LAYERS, Ink, Run, Shading
from pgtop.tui.lines.graph_axes import Row, picture
from pgtop.tui.lines.graph_frame import Frame, frame_of
from pgtop.tui.widgets.looks import Look, Looks, style_of

WINDOWS: Final = (60, 120, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400)
"""The windows to choose from, in seconds: 1 minute to 24 hours."""
DEFAULT_WINDOW: Final = 300
"""The window to which the graph grows by itself."""
FUTURE_KEPT_SECONDS: Final = 60.0
"""The time for which the room for a forecast is kept without one: forecasts come and go."""

_WARNING: Final = Look("$text-warning")
_ERROR: Final = Look("$text-error")
_MUTED: Final = Look("$text-muted")

INKS: Final = Looks(
    usual={
        **{layer: Look(f"$graph-{layer}") for layer in LAYERS if layer is not Ink.SESSIONS},
        Ink.SESSIONS: Look("$graph-idle"),
        "text-idle": Look("$text-primary"),
        "text-sessions": Look("$text-primary"),
        "text-other": _MUTED,
        Ink.WARN_LINE: _WARNING,
        Ink.WARN_LABEL: _WARNING,
        Ink.FULL_LINE: _ERROR,
        Ink.FULL_LABEL: _ERROR,
        Ink.FULL_GROUND: Look("$error 20%"),
        Ink.FORECAST: _WARNING,
        Ink.MARK: Look("$foreground", text="bold"),
        Ink.CURSOR: Look("$foreground", text="bold"),
        Ink.TITLE: Look("$foreground", text="bold"),
        Ink.LEGEND: Look("$foreground"),
        Ink.AXIS: _MUTED,
        Ink.RULE: Look("$foreground 25%"),
        "greyed": _MUTED,
        "greyed-active": Look("$foreground 60%"),
        "greyed-in-transaction": Look("$foreground 40%"),
        "greyed-idle": Look("$foreground 22%"),
        "greyed-sessions": Look("$foreground 22%"),
        "greyed-other": Look("$foreground 12%"),
        "greyed-full-ground": Look("$background"),
    },
    ansi={
        Ink.FULL_GROUND: Look("$background"),
        **dict.fromkeys((Ink.AXIS, Ink.RULE, "greyed"), Look(text="dim")),
    },
)
"""The looks of the inks. During an outage, layers and the full line's ground have one of their own, and all
else has `greyed`; in ASCII, `text-` is for the pale layers."""


_GROWING: Final = tuple(
    60 * minutes
    for minutes in (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 1080, 1440)
)
"""The windows that a graph grows through by itself: from three minutes on, each new one is filled to two
thirds at once.
"""


def fitting_window(seconds: float) -> int:
    """Return the shortest window that holds this many seconds, or the longest there is.

    >>> fitting_window(0), fitting_window(301), fitting_window(1e6)
    (60, 420, 86400)
    """
    return next((window for window in _GROWING if window >= seconds), WINDOWS[-1])


def next_window(seconds: int, by: int) -> int:
    """Return the next longer of `WINDOWS` (`by` above 0) or the next shorter one; the last if there is none.

    >>> next_window(300, 1), next_window(240, 1), next_window(240, -1), next_window(60, -1)
    (900, 300, 120, 60)
    """
    if by > 0:
        return next((window for window in WINDOWS if window > seconds), WINDOWS[-1])
    return next((window for window in reversed(WINDOWS) if window < seconds), WINDOWS[0])


class _Seen(NamedTuple):
    """Everything that was to be shown last."""

    history: History
    now: int
    slots: int = 0
    warn_at: float = 0.8
    max_connections: int = 0
    marks: Sequence[Mark] = ()
    forecast: Forecast | None = None
    grows: bool = False
    stretch: "Stretch | None" = None


class Stretch(NamedTuple):
    """The stretch of a recording that the graph shows; times in microseconds, the server's clock."""

    at: int
    """The time that the rest of the screen shows."""
    end: int
    """The end of the stretch."""
    seconds: float
    is_whole: bool
    """True if it is the whole recording."""


class ConnectionGraph(Widget):
    """The sessions over time as a stacked area, with the 80% line and the full line."""

    DEFAULT_CSS = "ConnectionGraph { height: 9; }"

    window_seconds: reactive[int] = reactive(DEFAULT_WINDOW, repaint=False)
    """The time that the graph reaches back: one of `WINDOWS`, or one that it has grown to."""
    greyed: reactive[bool] = reactive(False, repaint=False)
    """True in an outage, while the graph is out of date."""

    def __init__(
        self,
        *,
        zone: tzinfo | None = None,
        ascii_only: bool = False,
        id: str | None = None,  # noqa: A002  # Textual's own name for it
        classes: str | None = None,
    ) -> None:
        """`zone` is the viewer's time zone, None for this machine's.

        `ascii_only` is for a terminal without UTF-8.
        """
        super().__init__(id=id, classes=classes)
        self.builds = 0
        """The number of times the picture was made."""
        self._zone = zone
        self._ascii_only = ascii_only
        self._seen = _Seen(History(), 0)
        self._future_until = 0
        self._frame: Frame | None = None
        self._rows: tuple[Row, ...] = ()
        self._strips: dict[int, Strip] = {}
        self._styles: dict[tuple[Ink, Ink | None], Style] = {}

    @property
    def history(self) -> History:
        """The history that is shown."""
        return self._seen.history

    def show(
        self,
        history: History,
        *,
        now: int,
        slots: int,
        warn_at: float,
        max_connections: int,
        marks: Sequence[Mark] = (),
        forecast: Forecast | None = None,
        grows: bool = False,
        stretch: Stretch | None = None,
    ) -> None:
        """Show the history up to `now` (microseconds, the server's clock); cheap if nothing has changed.

        A graph that `grows` begins at the left with what is known, and moves only once its window is full.
        `stretch` is that of a recording, of which what follows is shown, too.
        """
        if history is not self._seen.history or now < self._seen.now:
            self._future_until = 0
        if forecast is not None:
            self._future_until = now + int(FUTURE_KEPT_SECONDS * MICROSECONDS)
        self._seen = _Seen(
            history, now, max(1, slots), warn_at, max_connections, marks, forecast, grows, stretch
        )
        self._update()

    def watch_window_seconds(self) -> None:
        """Draw the new window."""
        self._update()

    def watch_greyed(self) -> None:
        """Change the styles; the picture stays the same."""
        self._forget_styles()
        self.refresh()

    def notify_style_update(self) -> None:
        """Take note that a theme or a class has changed."""
        super().notify_style_update()
        self._forget_styles()

    def render_line(self, y: int) -> Strip:
        """Return one row of the picture, from the cache if possible."""
        frame = self._frame
        if frame is None or (frame.width, frame.height, frame.shading) != (*self.size, self._shading):
            self._draw()
        if not 0 <= y < len(self._rows):
            return Strip.blank(self.size.width, self._style(Ink.AXIS, None))
        strip = self._strips.get(y)
        if strip is None:
            segments = [Segment(text, self._style(ink, ground)) for text, ink, ground in self._rows[y]]
            strip = Strip(segments, self.size.width)
            self._strips[y] = strip
        return strip

    @property
    def has_future(self) -> bool:
        """True while there is room to the right of the present."""
        return self._seen.now < self._future_until

    @property
    def _shading(self) -> Shading:
        if self._ascii_only:
            return Shading.ASCII
        if self.app.no_color:
            return Shading.PLAIN
        return Shading.COLOUR

    def _update(self) -> None:
        """Draw the history, and repaint the parts of rows that look different."""
        if self.is_attached and self.size.area:
            before = self._rows
            changed = self._draw()
            if changed and len(before) == len(self._rows):
                self.refresh(*(_difference(y, before[y], self._rows[y]) for y in changed))
            elif changed:
                self.refresh()

    def _draw(self) -> list[int]:
        """Draw the frame if it differs from the last one, and return the rows that look different."""
        seen = self._seen
        blank = Frame(
            width=self.size.width,
            height=self.size.height,
            window_seconds=self.window_seconds,
            slots=seen.slots,
            warn_at=seen.warn_at,
            max_connections=seen.max_connections,
            shading=self._shading,
            zone=self._zone,
            has_future=self.has_future,
            grows=seen.grows,
            recorded=seen.stretch is not None,
            is_whole=seen.stretch is not None and seen.stretch.is_whole,
        )
        cursor_at = seen.stretch.at if seen.stretch is not None else None
        frame = frame_of(
            seen.history, seen.now, blank, marks=seen.marks, forecast=seen.forecast, cursor_at=cursor_at
        )
        if frame == self._frame:
            return []
        before, self._frame, self._rows = self._rows, frame, picture(frame)
        self.builds += 1
        changed = [y for y, row in enumerate(self._rows) if y >= len(before) or before[y] != row]
        for y in changed:
            self._strips.pop(y, None)
        return changed

    def _forget_styles(self) -> None:
        self._styles.clear()
        self._strips.clear()

    def _style(self, ink: Ink, ground: Ink | None) -> Style:
        style = self._styles.get((ink, ground))
        if style is None:
            style = self.rich_style + self._look(ink)
            if ground is not None:
                style += Style(bgcolor=self._look(ground).color)
            self._styles[ink, ground] = style
        return style

    def _look(self, ink: Ink) -> Style:
        """Return the look of an ink. Layers stay apart where all is grey."""
        name: str = ink
        if self.greyed:
            name = f"greyed-{ink}" if ink in (*LAYERS, Ink.FULL_GROUND) else "greyed"
        elif self._ascii_only and ink in (Ink.IDLE, Ink.SESSIONS, Ink.OTHER):
            name = f"text-{ink}"  # a character needs more contrast than an area
        return style_of(name, INKS, self)


def _difference(y: int, before: Row, after: Row) -> Region:
    """Return the part of a row from the first cell that differs to the last one."""
    old, new = _cells(before), _cells(after)
    if len(old) != len(new):
        return Region(0, y, len(new), 1)
    differing = [x for x, (one, other) in enumerate(zip(old, new, strict=True)) if one != other]
    return Region(differing[0], y, differing[-1] - differing[0] + 1, 1) if differing else Region(0, y, 1, 1)


def _cells(row: Row) -> list[Run]:
    return [(character, ink, ground) for text, ink, ground in row for character in text]
