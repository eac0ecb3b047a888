"""The check on small modules: each line that a comment marks is found by its rule, and no other line."""

import re
from pathlib import Path

import pytest

from pgtop.leaks.check import check
from pgtop.leaks.findings import STANDARD

MODULES = Path(__file__).parent / "modules"
_MARK = re.compile(r"# finds: ([a-z0-9-]+)$")


def _marked(path: Path) -> list[tuple[str, int, str]]:
    return [
        (path.name, number, found[1])
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (found := _MARK.search(line))
    ]


def _files(entry: Path) -> list[Path]:
    return sorted(entry.glob("*.py")) if entry.is_dir() else [entry]


def _entries(kind: str) -> list[Path]:
    return sorted(each for each in MODULES.iterdir() if each.name.startswith(kind))


@pytest.mark.parametrize("entry", _entries("bad_") + _entries("good_"), ids=lambda each: each.stem)
def test_a_module_has_the_findings_it_marks(entry: Path) -> None:
    """The check finds the marked lines by their rules, reads every file, and finds nothing else."""
    found = check([entry])
    places = [(Path(each.place.path).name, each.place.line, str(each.rule)) for each in found.findings]
    assert places == [mark for path in _files(entry) for mark in _marked(path)]
    assert found.unreadable == ()


def test_good_modules_mark_nothing_and_bad_ones_something() -> None:
    """At least 40 modules, half of them good; a good one holds no mark, each bad one at least one."""
    marks = {entry: [mark for path in _files(entry) for mark in _marked(path)] for entry in MODULES.iterdir()}
    good, bad = _entries("good_"), _entries("bad_")
    assert len(good) >= 20
    assert len(bad) >= 20
    assert all(marks[each] for each in bad)
    assert not any(marks[each] for each in good)


def test_the_modules_cover_every_standard_rule() -> None:
    """Each rule that is on by default is found in at least one module."""
    found = {rule for entry in _entries("bad_") for path in _files(entry) for _, _, rule in _marked(path)}
    assert found == {str(rule) for rule in STANDARD}
