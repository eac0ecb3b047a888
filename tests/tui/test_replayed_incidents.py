"""The recordings of the demo's scenarios in the player: it shows their causes, and calls for no act."""

import pytest

from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.demo.scenarios.catalogue import SCENARIOS
from pgtop.history.recording import Recording
from pgtop.tui.screens.diagnosis import DiagnosisScreen
from tests.recordings import PLACE
from tests.servers import wait_until
from tests.support.players import player


@pytest.mark.parametrize("name", ["leak", "locks", "transactions"])
async def test_the_cause_is_on_the_screen_of_that_time(name: str) -> None:
    scenario = SCENARIOS[name]
    recording = Recording([PLACE / f"{name}.sqlite3"])
    async with player(recording, thresholds=Thresholds(compression=scenario.compression)) as played:
        findings = played.player.poll.findings
        assert findings[0].kind is scenario.kind
        assert findings[0].remedy is not None
        await played.shows(f"▲ {findings[0].sentence[:30]}")
        assert "then K" not in played.text
        await played.press("d")
        await wait_until(lambda: isinstance(played.app.screen, DiagnosisScreen))
        await played.shows("holds", "certainty", "REPLAY")
        assert "K terminate" not in played.text
        assert "K cancel" not in played.text


async def test_the_lock_tree_is_that_of_the_recording() -> None:
    async with player(Recording([PLACE / "locks.sqlite3"])) as played:
        await played.press("b")
        await played.shows("waits", "└", "REPLAY")
