"""The filter's line: saved and earlier filters, and the keys that look for the last one again."""

from pathlib import Path

from pgtop.demo.server import ThrowawayServer
from tests.servers import sessions, wait_until
from tests.support.dashboards import Driven, dashboard

SAVED = {"leaks": "app:leak", "mine": "app:mine"}


async def test_the_arrows_bring_saved_and_earlier_filters(server: ThrowawayServer, tmp_path: Path) -> None:
    """With what is being typed in between; and the line of keys says so."""
    async with (
        sessions(server, 2, application_name="leak"),
        dashboard(server, tmp_path / "a", filters=SAVED) as driven,
    ):
        line = driven.dashboard.panels.filter
        await driven.press("f3")
        await driven.shows("Enter apply", "↑ ↓ saved and earlier filters", "F10 quit")
        await driven.press("down")
        await driven.shows("Enter apply leaks", "app:leak")
        assert any(strip.text.startswith(" app:leak") for strip in driven.strips), "without an inset"
        await wait_until(lambda: len(driven.listed) == 2)
        await driven.press("down")
        assert line.value == "app:mine"
        await driven.press("escape", "slash", *"zz", "enter", "slash", "ctrl+u", "a")
        seen = []
        for key in ("down", "down", "down", "down", "down", "up", "up", "up"):
            await driven.press(key)
            seen.append(line.value)
        assert seen == ["app:leak", "app:mine", "zz", "a", "app:leak", "a", "zz", "app:mine"]
        await driven.press("x", "up")
        assert line.value == "zz", "an edited text is a new one"
        await driven.press("down")
        assert line.value == "app:minex"


async def test_n_goes_from_match_to_match_and_round(server: ThrowawayServer, tmp_path: Path) -> None:
    """Also after Esc cleared the filter; without a text it opens the line, and it says if nothing matches."""
    async with (
        sessions(server, 3, application_name="needle") as needles,
        sessions(server, 3, application_name="hay"),
        dashboard(server, tmp_path / "a", idle_after_seconds=300.0) as driven,
    ):
        pids = {each.get_server_pid() for each in needles}
        await wait_until(lambda: pids <= set(driven.listed))
        await driven.press("n")
        await wait_until(lambda: driven.dashboard.panels.filter.has_focus)
        await driven.press(*"app:needle", "enter", "escape")
        await wait_until(lambda: len(driven.listed) > 5)
        await driven.shows("n next match")
        await driven.press("p")  # so that the order stands still
        order = [pid for pid in driven.listed if pid in pids]
        await driven.press("end", "n")
        assert [await under(driven, key) for key in ("n", "n", "n", "N")] == [
            *order[1:],
            order[0],
            order[2],
        ]
        await driven.press("tab", "n")
        assert driven.backends.has_focus
        assert driven.dashboard.notices.current is None
        await driven.press("slash", *"nothing", "enter", "escape", "N")
        await driven.shows("no match: nothing")
        await driven.press("slash", "ctrl+u", *"needle", "enter", "n")
        assert driven.dashboard.notices.current is None, "it found something"


async def under(driven: Driven, key: str) -> int:
    """The session under the cursor after a key."""
    await driven.press(key)
    row = driven.backends.cursor_row
    assert row is not None
    return row.pid
