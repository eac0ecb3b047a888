"""The manual's viewer: q quits, links between pages work, with the keyboard and by a click."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Markdown, OptionList

from pgtop.commands.docs import PAGES
from pgtop.tui.manual_viewer import ManualApp, TargetList
from tests.servers import wait_until
from tests.support.ascii_gaps import without_ascii
from tests.support.running import environment, start_on_terminal

ONE = """# One

See [two](two.md), [the end of two](two.md#the-end), [below](#below), [away](https://example.org/x),
and [nothing](three.md).

## Below

Text.
"""
TWO = "# Two\n\n" + "A line.\n\n" * 100 + "## The end\n\nBack to [one](one.md).\n"

ALL_KINDS = (
    "".join(f"{'#' * level} Level {level}\n\n" for level in range(1, 7))
    + "".join(f"{'  ' * depth}- item\n" for depth in range(6))
    + "\n1. one\n\n> quoted\n\n---\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n```sh\ncode\n```\n"
)
"""A page with everything that a viewer draws a mark, a frame or a bullet for."""


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Two pages that link to each other."""
    (tmp_path / "one.md").write_text(ONE, encoding="utf-8")
    (tmp_path / "two.md").write_text(TWO, encoding="utf-8")
    return tmp_path


@asynccontextmanager
async def viewer(pages: Path, first: str, columns: int = 100) -> AsyncIterator[tuple[ManualApp, Pilot[Any]]]:
    """The viewer with its first page shown."""
    app = ManualApp(pages, first)
    async with app.run_test(size=(columns, 30)) as pilot:
        await shows(app, first)
        yield app, pilot


async def shows(app: ManualApp, page: str) -> None:
    """Wait until a page is shown."""
    await wait_until(lambda: app.page.stem == page and source(app) != "", 15, f"{page} is not shown")


def source(app: ManualApp) -> str:
    """The Markdown that is shown."""
    return app.viewer.query_one(Markdown).source


async def test_q_quits_the_viewer(pages: Path) -> None:
    async with viewer(pages, "one") as (app, pilot):
        await pilot.press("q")
        await wait_until(lambda: not app.is_running, 15, "it still runs")
    assert app.return_code == 0


async def test_a_link_leads_to_another_page_and_back(pages: Path) -> None:
    async with viewer(pages, "one") as (app, pilot):
        await app.viewer.go("two.md")
        await shows(app, "two")
        assert source(app) == TWO
        await pilot.press("b")
        await shows(app, "one")
        assert source(app) == ONE


async def test_a_click_on_a_link_follows_it(pages: Path) -> None:
    async with viewer(pages, "one") as (app, _):
        document = app.viewer.query_one(Markdown)
        document.post_message(Markdown.LinkClicked(document, "two.md"))
        await shows(app, "two")


async def test_a_link_to_a_heading_scrolls_there(pages: Path) -> None:
    async with viewer(pages, "one") as (app, _):
        await app.viewer.go("two.md#the-end")
        await shows(app, "two")
        await wait_until(lambda: app.viewer.scroll_y > 50, 15, "it did not scroll")


async def test_links_are_followed_from_the_keyboard(pages: Path) -> None:
    async with viewer(pages, "one") as (app, pilot):
        await pilot.press("l")
        await wait_until(lambda: isinstance(app.screen, TargetList), 15, "no list of links")
        options = app.screen.query_one(OptionList)
        assert options.option_count == 5
        await pilot.press("enter")
        await shows(app, "two")


async def test_any_page_can_be_chosen_from_the_list(pages: Path) -> None:
    async with viewer(pages, "one") as (app, pilot):
        await pilot.press("g", "j", "enter")
        await shows(app, "two")


async def test_a_list_is_left_without_following(pages: Path) -> None:
    async with viewer(pages, "one") as (app, pilot):
        await pilot.press("l", "escape")
        await wait_until(lambda: not isinstance(app.screen, TargetList), 15, "the list stays")
        assert app.page.stem == "one"


@pytest.mark.parametrize("target", ["https://example.org/x", "three.md"])
async def test_a_link_that_leads_nowhere_is_said(
    pages: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither opens a browser nor ends the viewer, and the page stays."""
    said: list[str] = []
    async with viewer(pages, "one") as (app, _):
        monkeypatch.setattr(app, "notify", lambda message, **_: said.append(message))
        document = app.viewer.query_one(Markdown)
        document.post_message(Markdown.LinkClicked(document, target))
        await wait_until(lambda: any(target in each for each in said), 15, "not said")
        assert (app.page.stem, source(app)) == ("one", ONE)


@pytest.mark.parametrize("columns", [60, 120])
async def test_t_shows_and_hides_the_contents(pages: Path, columns: int) -> None:
    """A wide terminal shows them at first, a narrow one does not."""
    async with viewer(pages, "one", columns) as (app, pilot):
        assert app.viewer.show_table_of_contents is (columns == 120)
        await pilot.press("t")
        assert app.viewer.show_table_of_contents is (columns != 120)


async def test_every_page_of_the_manual_can_be_shown() -> None:
    first, *rest = sorted(PAGES.glob("*.md"))
    async with viewer(PAGES, first.stem) as (app, _):
        for path in (first, *rest):
            await app.viewer.go(path.name)
            await wait_until(lambda path=path: source(app) == path.read_text(encoding="utf-8"), 15, path.name)


def test_the_command_opens_the_viewer_on_a_terminal(tmp_path: Path) -> None:
    """The real program in a pty: it draws, takes q, and ends with 0."""
    environment(tmp_path)
    with start_on_terminal(tmp_path, "docs", columns=100) as (process, terminal):
        seen = b""
        limit = time.monotonic() + 30
        while b"Pages" not in seen and time.monotonic() < limit:
            seen += os.read(terminal, 65536)
        os.write(terminal, b"q")
        while process.poll() is None and time.monotonic() < limit:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                break
        assert process.wait(10) == 0
    assert b"Pages" in seen


async def test_every_character_that_it_draws_has_a_replacement_in_ascii(pages: Path) -> None:
    (pages / "all.md").write_text(ALL_KINDS, encoding="utf-8")
    async with viewer(pages, "all") as (app, pilot):
        for keys in ((), ("t",), ("g",), ("escape", "end"), ("l",)):
            await pilot.press(*keys)
            await pilot.pause()
            strips = app.screen._compositor.render_strips()
            shown = "".join(segment.text for strip in strips for segment in strip)
            assert "Quit" in shown or "Level" in shown or "all" in shown
            assert without_ascii(shown) == set()
