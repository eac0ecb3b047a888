"""The recordings of the demo's scenarios: the diagnosis names each one's cause, with other names too."""

import zlib
from pathlib import Path

import msgspec
import pytest

from pgtop.core.diagnosis.findings import Grade
from pgtop.core.diagnosis.over_recording import Said, verdicts_of
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.demo.scenarios.catalogue import SCENARIOS
from pgtop.history.day_file import reading
from pgtop.history.recording import Recording
from pgtop.history.scrubbed_file import write_scrubbed
from tests.recordings import PLACE, scenario_of

FILES = sorted(PLACE.glob("*.sqlite3"))
LARGEST_BYTES = 100_000
WARN_AT = 0.8

OWN_WORDS = (
    "leaky-worker",
    "web",
    "api",
    "pg_dump",
    "shop",
    "orders",
    "customer_id",
    "127.0.0.1",
    "postgres",
    "demo",
    "billing",
)
"""Names of the demo, some of which each recording has; the last but one and the loopback's are kept."""


def verdicts(recording: Recording, path: Path) -> list[Said]:
    """What the diagnosis says of a recording, in the time of its scenario."""
    polls = recording.between(0, recording.last_at)
    thresholds = Thresholds(compression=scenario_of(path).compression)
    return verdicts_of(polls, recording.events(0, recording.last_at), WARN_AT, thresholds)


def decoded(path: Path) -> str:
    """All texts of a recording: its columns, and what its chunks and events hold."""
    parts = []
    with reading(path) as database:
        for table in ("about", "chunk", "event"):
            for row in database.execute(f"SELECT * FROM {table}").fetchall():
                parts += [_unpacked(each) if isinstance(each, bytes) else str(each) for each in row]
    return "\n".join(parts)


def _unpacked(body: bytes) -> str:
    try:
        return repr(msgspec.msgpack.decode(zlib.decompress(body)))
    except (zlib.error, msgspec.DecodeError):
        return body.decode("latin-1")


def test_each_scenario_has_its_recording() -> None:
    assert {path.stem for path in FILES} == set(SCENARIOS)
    for path in FILES:
        assert path.stat().st_size < LARGEST_BYTES
        assert "demo:5432" in decoded(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_cause_of_each_is_named(path: Path) -> None:
    scenario = scenario_of(path)
    said = verdicts(Recording([path]), path)
    assert scenario.kind in {each.first.kind for each in said}
    last = [each.first.kind for each in said if each.ended_at is None and each.first.grade is not Grade.MIXED]
    assert last in ([scenario.kind], []), "nothing else is blamed in the end"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scrubbed_it_says_the_same(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite3"
    original = Recording([path])
    size = write_scrubbed(original, copy, WARN_AT)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert size == copy.stat().st_size < LARGEST_BYTES
    scrubbed = Recording([copy])
    assert [each.at for each in scrubbed.between(0, scrubbed.last_at)] == [
        each.at for each in original.between(0, original.last_at)
    ]
    assert list(map(figures, verdicts(scrubbed, path))) == list(map(figures, verdicts(original, path)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scrubbed_it_has_none_of_the_names(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite3"
    write_scrubbed(Recording([path]), copy, WARN_AT)
    before, after = decoded(path), decoded(copy)
    names = [each for each in OWN_WORDS if each in before]
    assert len(names) >= 5
    left = {each for each in names if each in after}
    assert left <= {"127.0.0.1", "postgres", "pg_dump"}


def figures(said: Said) -> tuple[object, ...]:
    """What a verdict says beside names."""
    finding = said.heaviest
    return (said.began_at, said.ended_at, finding.kind, finding.grade, finding.slots, finding.backends)
