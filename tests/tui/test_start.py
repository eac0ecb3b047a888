"""The start: the first frame waits for no module that only a key needs."""

import subprocess
import sys
from pkgutil import iter_modules
from typing import Final

import pgtop.tui.screens

OPENING: Final = (
    "import pgtop.commands.main, pgtop.commands.dashboard, pgtop.tui.opening\n"
    "import pgtop.tui.app, pgtop.tui.dashboard"
)
"""The imports of a start; all others are made where they are needed."""

LATER: Final = frozenset(
    {
        "plotext",
        "pgtop.core.lock_tree",
        "pgtop.core.snapshot_json",
        "pgtop.postgres.backend_detail",
        "pgtop.postgres.lock_queue",
        "pgtop.tui.alerts.command_hook",
        "pgtop.tui.lines.growth_chart",
        "pgtop.tui.lines.lock_tree",
        "pgtop.tui.lines.session_detail",
        "pgtop.tui.terminal.pager",
        "pgtop.tui.widgets.lock_table",
        "prometheus_client",
        "sqlite3",
    }
)
SCREENS: Final = frozenset(
    f"pgtop.tui.screens.{each.name}" for each in iter_modules(pgtop.tui.screens.__path__)
)
LIGHT: Final = frozenset(
    f"pgtop.tui.screens.{name}" for name in ("main_screen", "over_dashboard", "session_acts", "sweep_choice")
)
"""The modules beside the screens by which the dashboard knows them."""
ON_USE: Final = frozenset({"pgtop.tui.screens.palette"})


def loaded_by(code: str) -> set[str]:
    """Return the names of the modules that a new Python has loaded after running that code."""
    printed = f"{code}\nimport sys\nprint(*sys.modules)"
    command = [sys.executable, "-c", printed]
    return set(subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout.split())


def test_a_start_loads_no_screen_that_a_key_opens() -> None:
    loaded = loaded_by(OPENING)
    assert "pgtop.tui.dashboard" in loaded
    assert loaded & (LATER | SCREENS) == LIGHT


def test_after_the_first_frame_all_screens_are_loaded() -> None:
    """All but those that need another key on top; a new screen belongs into `load_screens`."""
    loaded = loaded_by(
        f"{OPENING}\nfrom pgtop.tui.screens.over_dashboard import load_screens\nload_screens()"
    )
    assert SCREENS - loaded == ON_USE
