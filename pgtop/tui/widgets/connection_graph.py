"""The widget of the connection graph: it redraws only what would look different."""

from datetime import tzinfo
from typing import Final

from msgspec.structs import replace
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from pgtop.core.sample_history import History
from pgtop.tui.lines.graph_axes import Frame, Row, frame_of, picture
from pgtop.tui.lines.graph_curves import Ink
from pgtop.tui.widgets.component_styles import ink as looked_up

WINDOWS: Final = (300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400)
"""The windows to choose from, in seconds: 5 minutes to 24 hours."""
DEFAULT_WINDOW: Final = 300


def fitting_window(seconds: float) -> int:
    """Return the shortest window that holds this many seconds, or the longest there is.

    >>> fitting_window(0), fitting_window(301), fitting_window(1e6)
    (300, 900, 86400)
    """
    return next((window for window in WINDOWS if window >= seconds), WINDOWS[-1])


class ConnectionGraph(Widget):
    """Total, idle and active over time, with the 80% line and the line at which the server is full."""

    DEFAULT_CSS = """
    ConnectionGraph {
        height: 9;
        .connection-graph--total { color: $text-primary; }
        .connection-graph--over { color: $text-warning; }
        .connection-graph--full { color: $text-error; }
        .connection-graph--idle { color: $text-muted; }
        .connection-graph--active { color: $text-success; }
        .connection-graph--warn-line { color: $warning 60%; }
        .connection-graph--warn-label { color: $text-warning; }
        .connection-graph--refused-line { color: $error 70%; }
        .connection-graph--refused-label { color: $text-error; }
        .connection-graph--title { color: $foreground; text-style: bold; }
        .connection-graph--axis { color: $text-muted; }
        .connection-graph--rule { color: $foreground 25%; }
        .connection-graph--greyed { color: $text-muted; }
        &:ansi {
            .connection-graph--idle, .connection-graph--axis, .connection-graph--rule,
            .connection-graph--greyed { text-style: dim; }
        }
    }
    """

    window_seconds: reactive[int] = reactive(DEFAULT_WINDOW, repaint=False)
    """The time that the graph reaches back, one of `WINDOWS`."""
    greyed: reactive[bool] = reactive(False, repaint=False)
    """True in an outage, while the graph is out of date."""

    def __init__(
        self,
        *,
        zone: tzinfo | None = None,
        ascii_only: bool = False,
        draws_at_once: bool = True,
        id: str | None = None,  # noqa: A002  # Textual's own name for it
        classes: str | None = None,
    ) -> None:
        """`zone` is the viewer's time zone, None for this machine's.

        `ascii_only` is for a terminal without UTF-8; without `draws_at_once`, `begin` starts the curves.
        """
        super().__init__(id=id, classes=classes)
        self.builds = 0
        """The number of times the curves were drawn."""
        self._zone = zone
        self._ascii_only = ascii_only
        self.history = History()
        self._now = 0
        self._limits = (0, 0.8, 0)
        self._frame: Frame | None = None
        self._draws_curves = draws_at_once
        self._rows: tuple[Row, ...] = ()
        self._strips: dict[int, Strip] = {}
        self._styles_by_ink: dict[Ink, Style] = {}

    def show(
        self,
        history: History,
        *,
        now: int,
        slots: int,
        warn_at: float,
        max_connections: int,
    ) -> None:
        """Show the history up to `now` (microseconds, the server's clock); cheap if nothing has changed."""
        self.history, self._now = history, now
        self._limits = (max(1, slots), warn_at, max_connections)
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
        if self._frame is None or (self._frame.width, self._frame.height) != self.size:
            self._draw()
        if not 0 <= y < len(self._rows):
            return Strip.blank(self.size.width, self._style(Ink.AXIS))
        strip = self._strips.get(y)
        if strip is None:
            segments = [Segment(text, self._style(ink)) for text, ink in self._rows[y]]
            strip = Strip(segments, self.size.width)
            self._strips[y] = strip
        return strip

    def _update(self) -> None:
        """Draw the history, and repaint the rows that look different."""
        if self.is_attached and self.size.area:
            changed = self._draw()
            if changed:
                self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _draw(self) -> list[int]:
        """Draw the frame if it differs from the last one, and return the rows that look different."""
        slots, warn_at, max_connections = self._limits
        blank = Frame(
            width=self.size.width,
            height=self.size.height,
            window_seconds=self.window_seconds,
            slots=slots,
            warn_at=warn_at,
            max_connections=max_connections,
            ascii_only=self._ascii_only,
            zone=self._zone,
        )
        frame = frame_of(self.history, self._now, blank)
        if not self._draws_curves:
            frame = replace(frame, edge=0, curve=())
        if frame == self._frame:
            return []
        before, self._frame, self._rows = self._rows, frame, picture(frame)
        self.builds += 1
        changed = [y for y, row in enumerate(self._rows) if y >= len(before) or before[y] != row]
        for y in changed:
            self._strips.pop(y, None)
        return changed

    def begin(self) -> None:
        """Draw the curves from now on; importing plotext takes as long as drawing the rest of a screen."""
        self._draws_curves = True
        self._update()

    def _forget_styles(self) -> None:
        self._styles_by_ink.clear()
        self._strips.clear()

    def _style(self, ink: Ink) -> Style:
        style = self._styles_by_ink.get(ink)
        if style is None:
            name = "greyed" if self.greyed else ink
            style = self.rich_style + looked_up(self, f"connection-graph--{name}")
            self._styles_by_ink[ink] = style
        return style
