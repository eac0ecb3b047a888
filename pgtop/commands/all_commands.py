"""All commands by name.

This is the one place that knows them all. A command is imported when it is asked for, and it imports what it
runs inside its own function, so that `pgtop --version` is quick and `pgtop snapshot` does not import the
screen.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pgtop.commands.command import Command


def _snapshot() -> Command:
    from pgtop.commands.snapshot.command import SNAPSHOT

    return SNAPSHOT


def _diagnose() -> Command:
    from pgtop.commands.diagnose.command import DIAGNOSE

    return DIAGNOSE


def _doctor() -> Command:
    from pgtop.commands.doctor.command import DOCTOR

    return DOCTOR


def _replay() -> Command:
    from pgtop.commands.replay.command import REPLAY

    return REPLAY


def _record() -> Command:
    from pgtop.commands.record.command import RECORD

    return RECORD


def _reap() -> Command:
    from pgtop.commands.reap.command import REAP

    return REAP


def _break_glass() -> Command:
    from pgtop.commands.break_glass.command import BREAK_GLASS

    return BREAK_GLASS


def _leaks() -> Command:
    from pgtop.commands.leaks.command import LEAKS

    return LEAKS


def _history() -> Command:
    from pgtop.commands.history.command import HISTORY

    return HISTORY


def _audit() -> Command:
    from pgtop.commands.audit.command import AUDIT

    return AUDIT


def _config() -> Command:
    from pgtop.commands.config.command import CONFIG

    return CONFIG


def _demo() -> Command:
    from pgtop.commands.demo import DEMO

    return DEMO


def _docs() -> Command:
    from pgtop.commands.docs import DOCS

    return DOCS


def _completion() -> Command:
    from pgtop.commands.completion.command import COMPLETION

    return COMPLETION


class _Commands(Mapping[str, Command]):
    """The commands by name; only those that are asked for are imported."""

    def __init__(self, importers: Mapping[str, Callable[[], Command]]) -> None:
        self._importers = importers

    def __getitem__(self, name: str) -> Command:
        return self._importers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._importers  # Mapping's own would import the command

    def __iter__(self) -> Iterator[str]:
        return iter(self._importers)

    def __len__(self) -> int:
        return len(self._importers)


COMMANDS: Final[Mapping[str, Command]] = _Commands(
    {
        "snapshot": _snapshot,
        "diagnose": _diagnose,
        "doctor": _doctor,
        "reap": _reap,
        "break-glass": _break_glass,
        "replay": _replay,
        "record": _record,
        "leaks": _leaks,
        "history": _history,
        "audit": _audit,
        "config": _config,
        "demo": _demo,
        "docs": _docs,
        "completion": _completion,
    }
)
