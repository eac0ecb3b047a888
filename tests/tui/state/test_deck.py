"""The deck goes where it is wished, in the order of the wishes, and outlives a file that cannot be read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pgtop.core.activity import MICROSECONDS
from pgtop.history.recording import Position
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.state.deck import SPEEDS, Deck
from pgtop.tui.state.playback import PlayedPoll, opened
from tests.builders import NOW, backend, snapshot
from tests.servers import wait_until
from tests.support.recordings import recording, seen


@asynccontextmanager
async def running(root: Path, number: int = 30) -> AsyncIterator[tuple[Deck, list[tuple[int, str]]]]:
    """A deck at the first of some polls, and the polls that it came to with what was said of them."""
    polls = [seen(snapshot(backend(10), taken_at=NOW + n * 2 * MICROSECONDS)) for n in range(number)]
    playback, poll = opened(recording(root, polls), Config(), at=NOW)
    deck = Deck(playback, poll)
    shown: list[tuple[int, str]] = []

    def note(_: PlayedPoll, said: str) -> None:
        shown.append((deck.poll.number, said))

    task = asyncio.ensure_future(deck.run(note))
    try:
        yield deck, shown
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_wishes_of_one_moment_are_one_way(tmp_path: Path) -> None:
    async with running(tmp_path) as (deck, shown):
        for _ in range(5):
            deck.wish(lambda position: deck.playback.step(position, 1), "the end")
        await wait_until(lambda: shown)
        assert shown == [(6, "")]


async def test_a_way_that_leads_nowhere_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as (deck, shown):
        deck.wish(lambda position: deck.playback.step(position, -1), "the beginning")
        await wait_until(lambda: shown)
        deck.wish(lambda _: None, "nothing there")
        await wait_until(lambda: len(shown) == 2)
        assert shown == [(1, "the beginning"), (1, "nothing there")]


async def test_a_part_that_cannot_be_read_leaves_the_poll_as_it_is(tmp_path: Path) -> None:
    async with running(tmp_path) as (deck, shown):
        deck.toggle()
        deck.wish(lambda _: Position(99, 0))
        await wait_until(lambda: shown)
        number, said = shown[0]
        assert number == 1
        assert said.startswith("the recording cannot be read")
        assert not deck.is_playing
        deck.wish(lambda position: deck.playback.step(position, 1))
        await wait_until(lambda: len(shown) == 2)
        assert shown[1] == (2, "")


async def test_it_plays_to_the_end_and_says_so_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (deck, shown):
        assert not deck.advance()
        deck.toggle()
        for _ in SPEEDS:
            deck.faster(1)
        assert deck.speed == SPEEDS[-1]
        await wait_until(deck.advance, complaint="never at the end")
        assert not deck.is_playing
        assert not deck.advance()
        numbers = [number for number, _ in shown]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 30
