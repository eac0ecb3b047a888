"""Painted: a widget drawn line by line from cells, which repaints only the lines that differ."""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from pgtop.tui.columns import Cell


class Painted(Widget):
    """Draws the lines its `format_lines` gives. A cell's style is the name of a component class here."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "cell--head",
        "cell--sorted",
        "cell--title",
        "cell--cursor",
        "cell--cursor-blurred",
        "cell--dim",
        "cell--accent",
        "cell--amber",
        "cell--red",
        "cell--good",
        "cell--strong",
        "cell--strong-amber",
        "cell--strong-red",
        "cell--key",
        "cell--alarm",
        "cell--note",
    }

    DEFAULT_CSS = """
    Painted {
        & > .cell--head { color: $text-muted; }
        & > .cell--sorted { text-style: bold; }
        & > .cell--title { color: $text-muted; }
        & > .cell--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
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
        &.-greyed { color: $text-muted; }
        &.-greyed > .cell--accent, &.-greyed > .cell--amber, &.-greyed > .cell--red,
        &.-greyed > .cell--good, &.-greyed > .cell--strong-amber, &.-greyed > .cell--strong-red {
            color: $text-muted; text-style: none;
        }
        &:nocolor > .cell--cursor { text-style: reverse; }
        &:nocolor > .cell--cursor-blurred { text-style: underline; }
        &:nocolor > .cell--alarm { text-style: bold reverse; }
    }
    """

    _lines: Sequence[Strip] = ()

    def format_lines(self, width: int, height: int) -> list[Strip]:
        """All lines at this size; at most `height`."""
        raise TypeError(f"{type(self).__name__} has no lines")

    def redraw(self) -> None:
        """Formats what is visible anew and repaints the lines that differ."""
        width, height = self.size
        if not width or not height:
            return
        before, self._lines = self._lines, self.format_lines(width, height)
        if len(before) != len(self._lines):
            self.refresh()
            return
        pairs = enumerate(zip(before, self._lines, strict=True))
        changed = [Region(0, y, width, 1) for y, (old, new) in pairs if old != new]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """The line at `y`, as last formatted."""
        if not self._lines:
            self._lines = self.format_lines(*self.size)
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    def cell_style(self, name: str) -> Style:
        """The colours of a component class; none for ""."""
        styles: dict[str, Style] = self.__dict__.setdefault("_cell_styles", {})
        if name not in styles:
            styles[name] = self.get_component_rich_style(f"cell--{name}") if name else Style.null()
        return styles[name]

    def strip(self, cells: Sequence[Cell], width: int, over: Style | None = None) -> Strip:
        """Cells as one line of exactly `width` cells; `over` is laid over each cell's own style."""
        base = self.rich_style
        top = over or Style.null()
        segments = [
            Segment(cell.text, base + self.cell_style(cell.style) + top + _action(cell)) for cell in cells
        ]
        return Strip(segments).adjust_cell_length(width, base + top).simplify()

    def on_resize(self) -> None:
        self._lines = ()
        self.redraw()

    def notify_style_update(self) -> None:
        """The theme, the focus or a class changed: all colours are looked up anew."""
        super().notify_style_update()
        self.__dict__.pop("_cell_styles", None)
        self._lines = ()
        self.refresh()


def _action(cell: Cell) -> Style:
    return Style.from_meta({"@click": cell.action}) if cell.action else Style.null()


class Lines(Painted):
    """A few lines of cells that somebody else puts together."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._cells: Sequence[Sequence[Cell]] = ()

    def show(self, lines: Sequence[Sequence[Cell]]) -> None:
        """Shows these lines."""
        self._cells = lines
        self.redraw()

    def fit(self, lines: Sequence[Sequence[Cell]]) -> None:
        """Shows these lines and becomes as tall as they are."""
        self.styles.height = len(lines)
        self.show(lines)

    def format_lines(self, width: int, height: int) -> list[Strip]:
        return [self.strip(cells, width) for cells in self._cells[:height]]
