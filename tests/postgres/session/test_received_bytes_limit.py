"""The inlet: what it lets pass, and what it cuts off before any of it is kept."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.postgres.session.received_bytes_limit import (
    ANSWER_BYTES,
    LOGIN_BYTES,
    LONGEST_SAID_BYTES,
    MOST_ROUNDS,
    MOST_UNASKED,
    PARAMETER_BYTES,
    TrafficLimit,
)
from tests.support.hostile import AUTHENTICATED, READY, data_row, message, parameter

NOTICE = message("N", b"SNOTICE\0C00000\0Mhello\0\0")
HONEST = (
    message("R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0")
    + message("R", struct.pack("!I", 11) + b"r=a,s=b,i=4096")
    + message("R", struct.pack("!I", 12) + b"v=a")
    + AUTHENTICATED
    + parameter("server_version", "16.4")
    + message("K", b"12345678")
    + READY
    + NOTICE
    + message("A", struct.pack("!I", 1) + b"channel\0payload\0")
    + message("1")
    + data_row([b"x" * 500, None])
    + message("C", b"SELECT 1\0")
    + message("E", b"SERROR\0C22000\0Mno\0\0")
    + READY
)


def step(code: int, said: bytes = b"") -> bytes:
    """A step of an authentication."""
    return message("R", struct.pack("!I", code) + said)


@given(cuts=st.lists(st.integers(0, len(HONEST)), max_size=30))
def test_an_honest_server_passes_however_it_comes_in_pieces(cuts: list[int]) -> None:
    traffic = TrafficLimit()
    places = sorted({0, len(HONEST), *cuts})
    passed = b""
    for begin, end in pairwise(places):
        assert traffic.check(HONEST[begin:end])
        passed += traffic.passed
    assert passed == HONEST
    assert not traffic.problem


@given(pieces=st.lists(st.binary(max_size=50), max_size=20))
def test_no_bytes_break_it(pieces: list[bytes]) -> None:
    """It lets them pass, or says why not."""
    traffic = TrafficLimit()
    for piece in pieces:
        if not traffic.check(piece):
            assert traffic.problem
            return
    assert not traffic.problem


@pytest.mark.parametrize("kind", "NAESRC")
@pytest.mark.parametrize("length", [LONGEST_SAID_BYTES + 5, 2**31 - 1, 2**32 - 1])
def test_notices_beside_an_answer_are_bounded(kind: str, length: int) -> None:
    """It is told by its head, before any of it comes."""
    traffic = TrafficLimit()
    traffic.expect(2**40)
    assert not traffic.check(message(kind, length=length))


def test_a_message_is_no_longer_than_the_answer_it_is_in() -> None:
    traffic = TrafficLimit()
    traffic.expect(ANSWER_BYTES)
    assert traffic.check(message("D", length=ANSWER_BYTES - 1))
    traffic.expect(ANSWER_BYTES)
    other = TrafficLimit()
    other.expect(ANSWER_BYTES)
    assert not other.check(message("D", length=ANSWER_BYTES + 5))
    for length in range(4):
        assert not TrafficLimit().check(message("D", length=length))


def test_an_answer_is_no_longer_than_was_asked_for() -> None:
    """Whatever it is made of; the next one may be as long again."""
    traffic = TrafficLimit()
    row = data_row([b"x" * 1000])
    for _ in range(3):
        traffic.expect(10 * len(row))
        assert traffic.check(row * 10)
    assert not traffic.check(row)


def test_a_login_is_short() -> None:
    piece = message("X", b"y" * 5000)
    traffic = TrafficLimit()
    assert traffic.check(piece * (LOGIN_BYTES // len(piece)))
    assert not traffic.check(piece)


def test_notices_between_two_statements_are_few() -> None:
    traffic = TrafficLimit()
    traffic.expect(ANSWER_BYTES)
    assert traffic.check(NOTICE * MOST_UNASKED)
    traffic.expect(ANSWER_BYTES)
    assert traffic.check(NOTICE * MOST_UNASKED)
    assert not traffic.check(NOTICE)


def test_parameters_may_change_forever_but_not_multiply() -> None:
    """The driver keeps the last value of each."""
    traffic = TrafficLimit()
    value = "v" * 60_000
    for _ in range(PARAMETER_BYTES // 60_000 + 5):
        traffic.expect(ANSWER_BYTES)
        assert traffic.check(parameter("search_path", value))
    for number in range(PARAMETER_BYTES // 60_000 + 5):
        traffic.expect(ANSWER_BYTES)
        if not traffic.check(parameter(f"x{number}", value)):
            break
    assert "parameters" in traffic.problem


@pytest.mark.parametrize("name", ["UTF8", "UNICODE", "'utf-8'", "LATIN10", "WIN1252", "SQL_ASCII", "KOI8R"])
def test_an_encoding_of_postgresqls_passes(name: str) -> None:
    assert TrafficLimit().check(parameter("client_encoding", name))


@pytest.mark.parametrize(
    "name", ["latin" + "7" * 1000, "win1", "iso_8859_1", "''utf8''", "'utf8", "utf8 ", ""]
)
def test_every_other_encoding_is_cut_off(name: str) -> None:
    """Python keeps each name that it was asked for in vain, for ever."""
    traffic = TrafficLimit()
    assert not traffic.check(parameter("client_encoding", name))
    assert "encoding" in traffic.problem


@pytest.mark.parametrize(
    "steps",
    [
        [step(11, b"r=a,s=b,i=1")],
        [step(12, b"v=a")],
        [step(8)],
        [step(0), step(0)],
        [step(0), step(10, b"X\0\0")],
        [step(10, b"X\0\0"), step(10, b"X\0\0")],
        [step(10, b"X\0\0"), step(11, b"i=1"), step(11, b"i=1")],
        [step(10, b"X\0\0"), step(12, b"v=a")],
        [step(10, b"X\0\0"), step(0)],
        [step(3), step(3)],
        [step(10, b"X\0\0"), step(11, b",i=%d" % (MOST_ROUNDS + 1))],
        [step(10, b"X\0\0"), step(11, b",i=" + b"9" * 500)],
        [step(10, b"X")],
        [message("R", b"\0")],
    ],
)
def test_a_login_goes_step_by_step(steps: list[bytes]) -> None:
    """The driver crashes at some that come out of turn, and hashes for as long as it is told to."""
    traffic = TrafficLimit()
    assert [traffic.check(each) for each in steps] == [True] * (len(steps) - 1) + [False]


@pytest.mark.parametrize(
    "steps", [[0], [3, 0], [5, 0], [7, 0], [7, 8, 8, 0], [9, 8, 0]], ids=lambda steps: str(steps)
)
def test_other_ways_to_log_in_pass(steps: list[int]) -> None:
    assert TrafficLimit().check(b"".join(step(each, b"salt") for each in steps))


@pytest.mark.parametrize(
    "said",
    [
        message("S", b"name"),
        message("S", b"name\0value"),
        message("S", b"a\0b\0c\0"),
        message("A", b"\0\0\0\1channel\0payload"),
        message("E", b""),
        message("E", b"SERROR"),
        message("E", b"SERROR\0"),
        message("E", b"SERROR\0\0more"),
        message("N", b"SERROR\0M"),
        message("C", b"SELECT 1"),
        message("C", b""),
    ],
)
def test_texts_end_within_their_message(said: bytes) -> None:
    """The driver reads on into the next one otherwise."""
    assert not TrafficLimit().check(said)


TOLD = (
    message("E", "SFATAL\0VFATAL\0C53300\0Mdésolé, trop de clients\0\0".encode("latin-1")),
    message("N", "SATTENTION\0C01000\0Mdéjà vu, œuvre\0\0".encode()),
    message("N", b"\xffATTENTION\0C01000\0M\xc3\0\0"),
    message("S", "search_path\0caf\u00e9, public\0".encode("latin-1")),
    message("A", b"\xff\xff\xff\xffc\xe9\0\xed\xa0\x80\0"),
    data_row([b"\xff\xe9"]),
)
PASSED = (
    message("E", b"SFATAL\0VFATAL\0C53300\0Md?sol?, trop de clients\0\0"),
    TOLD[1],
    message("N", b"\xffATTENTION\0C01000\0M?\0\0"),
    message("S", b"search_path\0caf?, public\0"),
    message("A", b"\xff\xff\xff\xffc?\0???\0"),
    TOLD[5],
)


@given(cuts=st.lists(st.integers(0, len(b"".join(TOLD))), max_size=30))
def test_words_of_another_encoding_pass_as_what_of_them_is_ascii(cuts: list[int]) -> None:
    """However they come in pieces; rows are left alone, as is what is UTF-8."""
    traffic, told, passed = TrafficLimit(), b"".join(TOLD), b""
    for begin, end in pairwise(sorted({0, len(told), *cuts})):
        assert traffic.check(told[begin:end])
        passed += traffic.passed
    assert passed == b"".join(PASSED)


def test_a_new_connection_begins_anew() -> None:
    """The first attempt of a login may have been cut off in the middle of anything."""
    traffic = TrafficLimit()
    assert not traffic.check(step(12))
    traffic.begin()
    assert traffic.check(HONEST)
    assert not traffic.problem
