"""The moments that people type: each form, relative to the end of a recording, and across clock changes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.moment_text import parse_moment

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


NEAR = at("2026-11-30T12:00:00+00:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("03:12", "2026-11-30T03:12:00+00:00"),
        ("3:12", "2026-11-30T03:12:00+00:00"),
        (" 03:12:30 ", "2026-11-30T03:12:30+00:00"),
        ("03:12:30.25", "2026-11-30T03:12:30.250000+00:00"),
        ("12:00", "2026-11-30T12:00:00+00:00"),
        ("12:01", "2026-11-29T12:01:00+00:00"),
        ("2026-11-28 23:59", "2026-11-28T23:59:00+00:00"),
        ("2026-11-28", "2026-11-28T00:00:00+00:00"),
        ("2026-11-28T23:59:01+02:00", "2026-11-28T21:59:01+00:00"),
        ("2026-11-28T23:59:01Z", "2026-11-28T23:59:01+00:00"),
        ("-15min", "2026-11-30T11:45:00+00:00"),
        ("-90", "2026-11-30T11:58:30+00:00"),
    ],
)
def test_each_form_is_read(text: str, moment: str) -> None:
    assert parse_moment(text, NEAR, UTC) == at(moment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "25:00",
        "03:60",
        "3",
        "-",
        "--5",
        "2026-13-01",
        "0001-01-01T00:00+23:59",
        "1969-12-31",
        "9999-12-31T23:59-23:59",
        "٠٣:١٢",
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="give a time such as 03:12"):
        parse_moment(text, NEAR, UTC)


def test_a_time_that_came_twice_is_the_later_one() -> None:
    """Clocks in Berlin went from 03:00 back to 02:00 at 01:00 UTC."""
    later, earlier = at("2026-10-25T01:30:00+00:00"), at("2026-10-25T00:30:00+00:00")
    assert parse_moment("02:30", later, BERLIN) == later
    assert parse_moment("02:30", later - 1, BERLIN) == earlier
    assert parse_moment("2026-10-25T02:30:00+01:00", NEAR, BERLIN) == later


def test_a_zone_decides_which_day_it_was() -> None:
    near = at("2026-11-30T23:30:00+00:00")
    assert parse_moment("00:15", near, BERLIN) == at("2026-11-30T23:15:00+00:00")
    assert parse_moment("00:15", near, UTC) == at("2026-11-30T00:15:00+00:00")


def test_a_moment_keeps_its_microseconds() -> None:
    assert parse_moment("-1", NEAR + 7, UTC) == NEAR + 7 - MICROSECONDS
