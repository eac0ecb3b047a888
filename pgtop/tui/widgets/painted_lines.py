"""Widgets drawn line by line from cells, which repaint only the lines that differ."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.widgets.component_styles import ink


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


class Painted(Widget):
    """A widget that draws the lines of its `format_lines`.

    A cell's style is the name of a class of the style sheet, without `cell--`.
    """

    DEFAULT_CSS = """
    Painted {
        & > .cell--head { color: $text-muted; }
        & > .cell--sorted { text-style: bold; }
        & > .cell--title { text-style: bold; }
        & > .cell--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: $block-cursor-text-style;
        }
        & > .cell--cursor-blurred { background: $surface; }
        & > .cell--dim { color: $text-muted; }
        & > .cell--accent { color: $text-accent; }
        & > .cell--amber { color: $text-warning; }
        & > .cell--red { color: $text-error; text-style: bold; }
        & > .cell--good { color: $text-success; }
        & > .cell--strong { text-style: bold; }
        & > .cell--strong-amber { color: $text-warning; text-style: bold; }
        & > .cell--strong-red { color: $text-error; text-style: bold; }
        & > .cell--key { color: $text-accent; text-style: bold; }
        & > .cell--alarm { background: $error-muted; color: $text-error; }
        & > .cell--note { background: $surface; }
        & > .cell--strong-accent { color: $text-accent; text-style: bold; }
        & > .cell--bar-calm { background: $surface; color: $text-accent; text-style: bold; }
        & > .cell--bar-over { color: $text-warning; text-style: bold reverse; }
        & > .cell--bar-full { color: $text-error; text-style: bold reverse; }
        & > .cell--word-calm { color: $text-accent; text-style: bold; }
        & > .cell--word-over { color: $text-warning; text-style: bold; }
        & > .cell--word-full { color: $text-error; text-style: bold; }
        & > .cell--badge-full, & > .cell--badge-down { color: $text-error; text-style: bold reverse; }
        /* A server's own colour, the same in every theme: the ground brings its letters with it. */
        & > .cell--server-red { background: #c62828; color: #ffffff; text-style: bold; }
        & > .cell--server-orange { background: #ff9e40; color: #1a1a1a; text-style: bold; }
        & > .cell--server-yellow { background: #ffe14d; color: #1a1a1a; text-style: bold; }
        & > .cell--server-green { background: #2e7d32; color: #ffffff; text-style: bold; }
        & > .cell--server-cyan { background: #4dd0e1; color: #1a1a1a; text-style: bold; }
        & > .cell--server-blue { background: #1565c0; color: #ffffff; text-style: bold; }
        & > .cell--server-magenta { background: #d81b82; color: #ffffff; text-style: bold; }
        & > .cell--server-purple { background: #7e3ab8; color: #ffffff; text-style: bold; }
        & > .cell--server-grey { background: #616a75; color: #ffffff; text-style: bold; }
        &.-greyed { color: $text-muted; }
        &.-greyed > .cell--accent, &.-greyed > .cell--amber, &.-greyed > .cell--red,
        &.-greyed > .cell--good, &.-greyed > .cell--strong-amber, &.-greyed > .cell--strong-red {
            color: $text-muted; text-style: none;
        }
        &.-greyed > .cell--badge-full { color: $text-muted; }
        /* The terminal's own colours have no lighter and no darker ones. */
        &:ansi > .cell--alarm { color: ansi_default; text-style: bold reverse; }
        &:ansi > .cell--note { text-style: reverse; }
        &:ansi > .cell--amber { text-style: bold; }
        &:ansi > .cell--cursor-blurred { text-style: reverse; }
        &:ansi > .cell--dim, &:ansi > .cell--head, &:ansi.-greyed, &:nocolor.-greyed,
        &:ansi.-greyed > .cell--accent, &:ansi.-greyed > .cell--amber, &:ansi.-greyed > .cell--red,
        &:ansi.-greyed > .cell--good, &:ansi.-greyed > .cell--strong-amber,
        &:ansi.-greyed > .cell--strong-red { text-style: dim; }
        &:ansi > .cell--server-red { background: ansi_red; color: ansi_bright_white; }
        &:ansi > .cell--server-orange { background: ansi_bright_red; color: ansi_black; }
        &:ansi > .cell--server-yellow { background: ansi_bright_yellow; color: ansi_black; }
        &:ansi > .cell--server-green { background: ansi_green; color: ansi_black; }
        &:ansi > .cell--server-cyan { background: ansi_cyan; color: ansi_black; }
        &:ansi > .cell--server-blue { background: ansi_blue; color: ansi_bright_white; }
        &:ansi > .cell--server-magenta { background: ansi_bright_magenta; color: ansi_black; }
        &:ansi > .cell--server-purple { background: ansi_magenta; color: ansi_bright_white; }
        &:ansi > .cell--server-grey { background: ansi_white; color: ansi_black; }
        &:nocolor > .cell--cursor { text-style: reverse; }
        &:nocolor > .cell--cursor-blurred { text-style: reverse; }
        &:nocolor > .cell--alarm { text-style: bold reverse; }
        &:nocolor > .cell--server-red, &:nocolor > .cell--server-orange, &:nocolor >
        .cell--server-yellow, &:nocolor > .cell--server-green, &:nocolor > .cell--server-cyan,
        &:nocolor > .cell--server-blue, &:nocolor > .cell--server-magenta, &:nocolor >
        .cell--server-purple, &:nocolor > .cell--server-grey { text-style: bold reverse; }
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
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    def cell_style(self, name: str) -> Style:
        """Return the colours of a class of the style sheet; none for ""."""
        if not name:
            return Style.null()
        return ink(self, f"cell--{name}", self.has_class("-greyed"), self.has_focus)

    def strip(self, cells: Sequence[Cell], width: int, over: Style | None = None) -> Strip:
        """Join cells into a line of exactly `width` cells; `over` is laid over each cell's own style."""
        segments = [Segment(cell.text, self._look(cell.style, over, cell.action)) for cell in cells]
        return Strip(segments).adjust_cell_length(width, self._look("", over)).simplify()

    def _look(self, name: str, over: Style | None = None, action: str = "") -> Style:
        """Return the look of a cell on this widget, cached until a style may have changed."""
        key = (name, over, action)
        look = self._looks.get(key)
        if look is None:
            look = self.rich_style + self.cell_style(name) + over
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
