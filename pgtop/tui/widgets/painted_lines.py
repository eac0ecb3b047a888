"""Widgets drawn line by line from cells, which repaint only the lines that differ."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from pgtop.core.server_colour import ServerColour
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.widgets.looks import Look, Looks, style_of


def changed_width(old: Strip, new: Strip) -> int:
    """Return how many cells from the left must be painted to replace `old` by `new`.

    >>> changed_width(Strip([Segment("pid 1  9s  web")]), Strip([Segment("pid 1 10s  web")]))
    8
    """
    olds, news = [(each.text, each.style) for each in old], [(each.text, each.style) for each in new]
    while olds and news:
        (before, before_style), (after, after_style) = olds.pop(), news.pop()
        if before_style != after_style:
            break
        same = _common_end(before, after)
        before, after = before[: len(before) - same], after[: len(after) - same]
        if before and after:
            break
        if before:
            olds.append((before, before_style))
            before = ""
        if after:
            news.append((after, after_style))
            after = ""
    else:
        before = after = ""
    left = "".join(text for text, _ in olds) + before, "".join(text for text, _ in news) + after
    return max(map(cell_len, left))


def _common_end(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their ends."""
    longest = min(len(one), len(other))
    return next((n for n in range(longest) if one[-1 - n] != other[-1 - n]), longest)


_BADGE: Final = Look("$text-error", text="bold reverse")
_REVERSED: Final = Look(text="bold reverse")
_PALED: Final = Look("$text-muted", text="none")
_PALED_CELLS: Final = ("accent", "amber", "red", "good", "strong-amber", "strong-red")
"""The cells that have the colour of muted text during an outage."""

CELLS: Final = Looks(
    usual={
        "head": Look("$text-muted"),
        "sorted": Look(text="bold"),
        "title": Look(text="bold"),
        "cursor": Look(
            "$block-cursor-foreground", "$block-cursor-background", text="$block-cursor-text-style"
        ),
        "cursor-blurred": Look(background="$surface"),
        "dim": Look("$text-muted"),
        "accent": Look("$text-accent"),
        "amber": Look("$text-warning"),
        "red": Look("$text-error", text="bold"),
        "good": Look("$text-success"),
        "strong": Look(text="bold"),
        "strong-amber": Look("$text-warning", text="bold"),
        "strong-red": Look("$text-error", text="bold"),
        "key": Look("$text-accent", text="bold"),
        "alarm": Look("$text-error", "$error-muted"),
        "note": Look(background="$surface"),
        "strong-accent": Look("$text-accent", text="bold"),
        "bar-calm": Look("$text-accent", "$surface", text="bold"),
        "bar-over": Look("$text-warning", text="bold reverse"),
        "bar-full": _BADGE,
        "word-calm": Look("$text-accent", text="bold"),
        "word-over": Look("$text-warning", text="bold"),
        "word-full": Look("$text-error", text="bold"),
        "badge-full": _BADGE,
        "badge-down": _BADGE,
        # Like nothing else on the screen: a recording is never taken for the present.
        "replay": Look("#ffffff", "#6a1b9a", text="bold"),
        # A server's own colour, the same in every theme: the ground brings its letters with it.
        "server-red": Look("#ffffff", "#c62828", text="bold"),
        "server-orange": Look("#1a1a1a", "#ff9e40", text="bold"),
        "server-yellow": Look("#1a1a1a", "#ffe14d", text="bold"),
        "server-green": Look("#ffffff", "#2e7d32", text="bold"),
        "server-cyan": Look("#1a1a1a", "#4dd0e1", text="bold"),
        "server-blue": Look("#ffffff", "#1565c0", text="bold"),
        "server-magenta": Look("#ffffff", "#d81b82", text="bold"),
        "server-purple": Look("#ffffff", "#7e3ab8", text="bold"),
        "server-grey": Look("#ffffff", "#616a75", text="bold"),
    },
    focused={"title": Look("$text-accent")},
    greyed={**dict.fromkeys(_PALED_CELLS, _PALED), "badge-full": Look("$text-muted")},
    ansi={
        "alarm": Look("ansi_default", text="bold reverse"),
        "note": Look(text="reverse"),
        "amber": Look(text="bold"),
        "cursor-blurred": Look(text="reverse"),
        "dim": Look(text="dim"),
        "head": Look(text="dim"),
        "replay": Look("ansi_bright_white", "ansi_magenta", text="bold"),
        "server-red": Look("ansi_bright_white", "ansi_red"),
        "server-orange": Look("ansi_black", "ansi_bright_red"),
        "server-yellow": Look("ansi_black", "ansi_bright_yellow"),
        "server-green": Look("ansi_black", "ansi_green"),
        "server-cyan": Look("ansi_black", "ansi_cyan"),
        "server-blue": Look("ansi_bright_white", "ansi_blue"),
        "server-magenta": Look("ansi_black", "ansi_bright_magenta"),
        "server-purple": Look("ansi_bright_white", "ansi_magenta"),
        "server-grey": Look("ansi_black", "ansi_white"),
    },
    colourless={
        "cursor": Look(text="reverse"),
        "cursor-blurred": Look(text="reverse"),
        "alarm": _REVERSED,
        "replay": _REVERSED,
        **{f"server-{colour}": _REVERSED for colour in ServerColour},
    },
    ansi_greyed=dict.fromkeys(_PALED_CELLS, Look(text="dim")),
)
"""The looks of cells, by the names that `Cell.style` has."""


_PLAIN: Final = ("", None, "")


class Painted(Widget):
    """A widget that draws the lines of its `format_lines`, from cells with the styles of `CELLS`."""

    DEFAULT_CSS = """
    Painted {
        &.-greyed { color: $text-muted; }
        &:ansi.-greyed, &:nocolor.-greyed { text-style: dim; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._lines: Sequence[Strip] = ()
        self._formatted = Size()
        self._looks: dict[tuple[str, Style | None, str], Style] = {}

    def format_lines(self, width: int, height: int) -> list[Strip]:
        """Return all lines at this size, at most `height` of them."""
        raise TypeError(f"{type(self).__name__} has no lines")

    def redraw(self) -> None:
        """Format what is visible again, and repaint the lines that differ."""
        width, height = self.size
        if not width or not height:
            self._lines = ()  # what was drawn before it was hidden must not be seen again
            return
        if not self._lines:
            self.refresh()  # formatting waits until it is drawn: this may be called many times before
            return
        before = self._lines
        self._format()
        if len(before) != len(self._lines):
            self.refresh()
            return
        pairs = enumerate(zip(before, self._lines, strict=True))
        changed = [Region(0, y, changed_width(old, new), 1) for y, (old, new) in pairs if old != new]
        if changed:
            self.refresh(*changed)

    def _format(self) -> None:
        self._formatted = self.size
        self._lines = self.format_lines(*self.size)

    def render_line(self, y: int) -> Strip:
        """Return the line at `y`, as last formatted."""
        if not self._lines:
            self._format()
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self._look(""))

    def cell_style(self, name: str) -> Style:
        """Return the style of a cell's name; none for ""."""
        if not name:
            return Style.null()
        return style_of(name, CELLS, self, greyed=self.has_class("-greyed"))

    def strip(self, cells: Sequence[Cell], width: int, over: Style | None = None) -> Strip:
        """Join cells into a line of exactly `width` cells; `over` is laid over each cell's own style."""
        segments = [Segment(cell.text, self._look(cell.style, over, cell.action)) for cell in cells]
        return Strip(segments).adjust_cell_length(width, self._look("", over)).simplify()

    def _look(self, name: str, over: Style | None = None, action: str = "") -> Style:
        """Return the look of a cell on this widget, cached until a style may have changed."""
        key = (name, over, action)
        look = self._looks.get(key)
        if look is None:
            own = self.rich_style if key == _PLAIN else self._look("")  # it is put together node by node
            look = own + self.cell_style(name) + over
            if action:
                look += Style.from_meta({"@click": action})
            self._looks[key] = look
        return look

    def on_resize(self) -> None:
        if self._lines and self._formatted == self.size:
            return  # already drawn at this size, before the event came
        self._lines = ()
        self.redraw()

    def notify_style_update(self) -> None:
        """Look up all colours again after the theme, the focus or a class changed."""
        super().notify_style_update()
        self._looks.clear()
        self._lines = ()
        self.refresh()


class Lines(Painted):
    """A few lines of cells that the caller puts together."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._cells: Sequence[Sequence[Cell]] = ()

    def show(self, lines: Sequence[Sequence[Cell]]) -> None:
        """Show these lines."""
        self._cells = lines
        self.redraw()

    def fit(self, lines: Sequence[Sequence[Cell]]) -> None:
        """Show these lines, and become as tall as they are."""
        self.styles.height = len(lines)
        self.show(lines)

    def format_lines(self, width: int, height: int) -> list[Strip]:
        return [self.strip(cells, width) for cells in self._cells[:height]]
