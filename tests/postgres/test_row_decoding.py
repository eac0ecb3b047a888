"""The gate: any bytes give either a valid snapshot or one error, and never anything else."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.activity import MICROSECONDS, Moment, Pid
from pgtop.core.json_text import json_line, timestamp
from pgtop.core.text import clock, duration, printable
from pgtop.postgres.errors.kinds import UnreadableError
from pgtop.postgres.row_decoding import decoded, the_one, typed
from pgtop.postgres.snapshot_probe import Poll, decode
from pgtop.postgres.unchanged_rows import UnchangedRows

NOW = 1_700_000_000 * MICROSECONDS
ROW = [
    10, NOW, NOW, None, NOW, "idle", "app", "app", "shop", "10.0.0.1", 5000, None, None, False, "SELECT 1"
]  # fmt: skip
VALID: dict[str, Any] = {
    "now": NOW,
    "in_recovery": False,
    "postmaster_start": NOW,
    "own_pid": 10,
    "privileges": {"role": "r", "is_superuser": False, "may_signal": True},
    "backends": [ROW, [11, *ROW[1:]]],
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def all_of(poll: Poll) -> None:
    """Does with a poll what faces do."""
    for backend in poll.backends:
        for moment in (backend.backend_start, backend.state_change, backend.xact_start, backend.query_start):
            if moment is not None:
                timestamp(moment)
                clock(moment)
        assert duration(backend.idle_seconds(poll.now)).isprintable()
        assert printable(backend.application_name).isprintable()
    clock(poll.now)
    json_line(poll)


def believed(raw: object) -> bool:
    """Whether the gate lets it pass; whatever it lets pass is of use."""
    said = ""
    try:
        poll = decode(raw, 100)
    except UnreadableError as error:
        said = str(error)
    else:
        all_of(poll)
    assert said.isprintable()
    assert len(said) < 700
    return not said


def test_a_valid_poll_passes() -> None:
    assert believed(msgspec.json.encode(VALID))


@given(raw=st.binary(max_size=400) | ANYTHING.map(msgspec.json.encode) | ANYTHING)
def test_anything_at_all_is_a_poll_or_one_error(raw: object) -> None:
    believed(raw)


@given(data=st.data())
def test_a_poll_with_any_value_changed_is_a_poll_or_one_error(data: st.DataObject) -> None:
    """One field of its own, one of a row's, or a byte anywhere."""
    poll = msgspec.json.decode(msgspec.json.encode(VALID))
    value = data.draw(ANYTHING)
    index = data.draw(st.integers(0, len(ROW) - 1))
    name = data.draw(st.sampled_from(sorted(VALID)))
    if data.draw(st.booleans()):
        poll[name] = value
    else:
        poll["backends"][0][index] = value
    raw = bytearray(msgspec.json.encode(poll))
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    believed(bytes(raw))


@given(moment=st.integers(-(2**63), 2**63), which=st.integers(1, 4))
def test_a_time_that_passes_is_a_date(moment: int, which: int) -> None:
    """In every time zone, and on every line that shows it."""
    row = [*ROW]
    row[which] = moment
    passes = believed(msgspec.json.encode(VALID | {"backends": [row]}))
    assert passes == (0 <= moment <= 253_370_764_800 * MICROSECONDS)


@pytest.mark.parametrize("number", [0, 1124, 1125])
def test_no_more_rows_pass_than_the_server_can_have(number: int) -> None:
    """100 connections and a margin; a bracket in a text is not a row."""
    rows = [[pid + 1, *ROW[1:-1], "SELECT '[[[' || \"a\\\"["] for pid in range(number)]
    assert believed(msgspec.json.encode(VALID | {"backends": rows})) == (number < 1124)


@pytest.mark.parametrize(
    "raw",
    [
        b'"' + b'\\"' * 2_000_000,
        b'"' + b'\\"' * 2_000_000 + b"\\",
        b"[" * 2_000_000,
        b'["' + b"[" * 2_000_000,
        b"\\" * 2_000_000 + b"u0000" + b"[" * 2000,
        b'{"a":' * 500_000 + b"[" * 2000,
    ],
)
def test_no_bytes_take_long_to_refuse(raw: bytes) -> None:
    """What is malformed is not looked at again and again: that would be hours."""
    assert not believed(raw)


def test_a_nul_is_told_from_its_spelling() -> None:
    """A statement may hold the characters backslash, u and four noughts."""
    for said, passes in (("\\u0000", True), ("\\\\u0000", True), ("\0", False), ("\\\0", False)):
        raw = msgspec.json.encode(VALID | {"backends": [[*ROW[:-1], said]]})
        assert believed(raw) == passes, said


class Row(msgspec.Struct):
    pid: Pid
    at: Moment | None


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"pid": 1},
        {"pid": "1", "at": None},
        {"pid": 0, "at": None},
        {"pid": 1.5, "at": 1},
        {"pid": True, "at": 1},
    ],
)
def test_rows_of_other_columns_are_one_error(row: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        the_one(row, Row)  # type: ignore[arg-type]


def test_more_rows_than_asked_for_are_one_error() -> None:
    good: Any = {"pid": 1, "at": 1}
    assert len(typed([good] * 3, Row, 3)) == 3
    with pytest.raises(UnreadableError, match="more than 3 rows"):
        typed([good] * 4, Row, 3)
    with pytest.raises(UnreadableError, match="no row"):
        the_one(None, Row)


@given(
    pids=st.binary(max_size=80) | st.none() | st.text(max_size=5), times=st.binary(max_size=80) | st.none()
)
def test_arrays_of_resting_sessions_are_a_list_or_one_error(pids: object, times: object) -> None:
    resting = UnchangedRows()
    poll = decode(msgspec.json.encode(VALID))
    resting.know_all(poll.backends, poll.now, 0.0, 0.0)
    with suppress(UnreadableError):
        resting.joined((), pids, times, poll.now, 0.0)


def test_other_decoders_have_the_same_gate() -> None:
    with pytest.raises(UnreadableError):
        decoded(b"[1e400]", msgspec.json.Decoder(list[int]), 10)
