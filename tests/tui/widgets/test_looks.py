"""The looks of cells and of the graph's inks, in every theme and state."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from rich.style import Style
from textual.app import App, ComposeResult

from pgtop.tui.themes import ANSI, THEMES
from pgtop.tui.widgets.connection_graph import INKS, ConnectionGraph
from pgtop.tui.widgets.line_table import LineTable
from pgtop.tui.widgets.looks import style_of
from pgtop.tui.widgets.painted_lines import CELLS, Lines

EXPECTED: Final = Path(__file__).with_name("looks.txt")
"""A line for each theme, state and name, with its style on the screen.

The states are `greyed` and `focused`; the latter stands only where it makes a difference. The styles are
those of the component classes that pgtop had before: each was looked up in Textual's style sheet.
"""
COLOURLESS: Final = "colourless"


class _Shown(App[None]):
    """Lines, a table and a graph, in a theme or without colour."""

    def __init__(self, theme: str) -> None:
        super().__init__(ansi_color=True if theme == COLOURLESS else None)
        self.no_color = theme == COLOURLESS
        for each in THEMES.values():
            self.register_theme(each)
        self.theme = ANSI.name if theme == COLOURLESS else theme
        self.lines, self.table, self.graph = Lines(), LineTable[object](), ConnectionGraph()

    def compose(self) -> ComposeResult:
        yield self.lines
        yield self.table
        yield self.graph

    def styles_by_name(self) -> Iterator[tuple[str, Style]]:
        """Yield the style of each name in each state, as it is on the screen."""
        for greyed in (False, True):
            state = "greyed " if greyed else ""
            for widget in (self.lines, self.table):
                widget.set_class(greyed, "-greyed")
            for name in CELLS.usual:
                plain = self.lines.rich_style + self.lines.cell_style(name)
                yield f"{state}cell {name}", plain
                focused = self.table.rich_style + self.table.cell_style(name)
                if focused != plain:
                    yield f"{state}focused cell {name}", focused
        for name in INKS.usual:
            yield f"ink {name}", self.graph.rich_style + style_of(name, INKS, self.graph)


@pytest.mark.parametrize("theme", [*THEMES, COLOURLESS])
async def test_every_cell_and_ink_has_its_look(theme: str) -> None:
    app = _Shown(theme)
    async with app.run_test():
        app.table.focus()
        seen = [f"{theme} {name}: {style}" for name, style in app.styles_by_name()]
    expected = [line for line in EXPECTED.read_text().splitlines() if line.startswith(f"{theme} ")]
    assert seen == expected
