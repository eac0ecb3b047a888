"""Lines of cells: what is on the screen is what was given last."""

from textual.app import App, ComposeResult

from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.widgets.painted_lines import Lines


class LinesApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Lines()


async def test_a_line_that_was_hidden_comes_back_with_its_new_text() -> None:
    """It has no size while it is hidden, and is given its text before it has one again."""
    async with LinesApp().run_test(size=(20, 3)) as pilot:
        lines = pilot.app.query_one(Lines)
        lines.fit([[Cell("old")]])
        await pilot.pause()
        assert lines.render_line(0).text.startswith("old")
        lines.display = False
        await pilot.pause()
        lines.fit([[Cell("hidden")]])
        lines.display = True
        lines.fit([[Cell("new")]])
        await pilot.pause()
        assert lines.render_line(0).text.startswith("new")
