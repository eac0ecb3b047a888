"""The wall's lines: right for every state there is, at every size, and as many of them in each."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtop.core.activity import MICROSECONDS, ConnectionLimit, LimitOf, Snapshot
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.outage import Limit, Outage, OutageKind
from pgtop.core.sample_history import Since
from pgtop.core.session_groups import GroupBy, group
from pgtop.core.text import cell_width, clock
from pgtop.demo.server import ThrowawayServer
from pgtop.tui.lines.big_digits import Scale, big, is_drawable, width
from pgtop.tui.lines.head import Standing
from pgtop.tui.lines.server_label import server_label
from pgtop.tui.lines.server_state import State
from pgtop.tui.lines.wall_view import LOW, TALL, figure_lines, state_of, top_count, top_lines
from pgtop.tui.terminal.ascii import to_ascii
from tests.builders import holding
from tests.servers import create_role
from tests.support.dashboards import as_text
from tests.support.reaping import real_snapshot

OUTAGES = [
    Outage(OutageKind.UNREACHABLE, "no server listens at db1:5432 (connection refused): check that it runs"),
    *(Outage(OutageKind.LIMIT, "refused", limit=limit, tries=7, seconds=3.0) for limit in Limit),
]
scales = st.builds(Scale, st.integers(1, 5), st.integers(1, 5))
LABEL = server_label("prod", "db1:5432", "shop")
sizes = st.tuples(st.integers(1, 260), st.integers(1, 120))


@pytest.fixture
async def snapshot(server: ThrowawayServer, tmp_path: Path) -> Snapshot:
    """One real snapshot, to be changed."""
    return await real_snapshot(server, tmp_path / "a")


def standings(snapshot: Snapshot, slots: int) -> list[tuple[Standing | None, Outage | None]]:
    """A standing for every state that there is."""

    def standing(total: int, **known: object) -> Standing:
        held = holding(snapshot, total, slots)
        since = Since(held.taken_at, is_exact=True) if total / slots >= 0.8 else None
        return Standing(held, 0.8, 2.0, since)._replace(**known)  # type: ignore[arg-type]

    over = -(-slots * 8 // 10)
    limit = (ConnectionLimit(LimitOf.ROLE, "postgres", 1),)
    limited = msgspec.structs.replace(holding(snapshot, 2, slots), connection_limits=limit)
    live = [
        standing(0),
        standing(0, snapshot=limited),
        standing(over),
        standing(slots),
        standing(slots + 3),
        standing(0, refusing=Limit.CLIENTS),
    ]
    old = [standing(over, paused=True, age_seconds=9.0), standing(0, late=True, age_seconds=3.0)]
    out = [(standing(over, outage=outage, age_seconds=90_000.0), outage) for outage in OUTAGES]
    return [*((each, None) for each in [*live, *old]), *out]


async def test_every_state_is_drawn_at_every_size_and_never_moves_the_rest(snapshot: Snapshot) -> None:
    """From the height on at which there is more than plain text."""
    by_slots = {slots: standings(snapshot, slots) for slots in (3, 97, 1_000, 12_345)}

    @settings(deadline=None)
    @given(sizes, st.sampled_from(sorted(by_slots)))
    def draws(size: tuple[int, int], slots: int) -> None:
        across, down = size
        heights = set()
        for standing, outage in by_slots[slots]:
            lines = as_text(figure_lines(standing, outage, LABEL, across, down))
            assert lines
            assert len(lines) <= max(2, down)
            heights.add(len(lines))
            for line in lines:
                assert cell_width(line) <= across or down < LOW or across < 12, (line, size)
        if down >= LOW and across >= 80:
            assert len(heights) == 1, (size, slots, heights)

    draws()


async def test_the_wait_for_a_connection_is_drawn_at_every_size() -> None:
    @given(sizes, st.sampled_from(OUTAGES))
    def draws(size: tuple[int, int], outage: Outage) -> None:
        assert all(
            cell_width(line) <= max(size[0], 12) for line in as_text(figure_lines(None, outage, LABEL, *size))
        )

    draws()


async def test_every_word_can_be_drawn_and_has_a_shape_of_its_own(snapshot: Snapshot) -> None:
    shapes: dict[str, set[str]] = {}
    for standing, outage in standings(snapshot, 97):
        state = state_of(standing, outage)
        assert state is not None
        shapes.setdefault(state.state, set()).add(state.state.shape)
    assert shapes == {
        "OK": {"●"},
        "HIGH": {"▲"},
        "LIMIT": {"▲"},
        "FULL": {"■"},
        "PAUSED": {"‖"},
        "LATE": {"◌"},
        "DOWN": {"✗"},
    }
    assert all(map(is_drawable, State))


async def test_figures_that_are_not_those_of_now_say_how_old_they_are(snapshot: Snapshot) -> None:
    for standing, outage in standings(snapshot, 97):
        assert standing is not None
        state = state_of(standing, outage)
        assert state is not None
        is_old = outage is not None or standing.paused or standing.late
        assert state.is_old == is_old
        for size in ((20, 5), (40, 12), (80, 24), (120, 40), (200, 60)):
            text = " ".join(" ".join(as_text(figure_lines(standing, outage, LABEL, *size))).split())
            assert ("figures " in text and " old" in text) == is_old, (state, size)


async def test_an_upper_bound_is_said_to_be_one(server: ThrowawayServer, tmp_path: Path) -> None:
    role = await create_role(server, "plain")
    hidden = await real_snapshot(server, tmp_path / "a", role.name)
    assert not hidden.counts.exact
    total, slots = hidden.counts.total, hidden.slots
    standing = Standing(hidden, 0.8, 2.0, None)
    assert as_text(figure_lines(standing, None, LABEL, 20, 5))[0].startswith(f" ≤{total} of {slots}  ≤")
    for size in ((80, 24), (120, 40)):
        text = " ".join(as_text(figure_lines(standing, None, LABEL, *size)))
        assert "GRANT pg_monitor" in text
        assert "idle" not in text


async def test_the_largest_groups_are_named_and_the_others_counted(snapshot: Snapshot) -> None:
    backends = [
        msgspec.structs.replace(snapshot.backends[0], application_name=f"app {name}")
        for name in "aaaabbbccd\x1b\u4eac"
    ]
    groups = group(backends, GroupBy.APPLICATION, snapshot.taken_at, 97)
    for across in (20, 40, 80, 200):
        lines = as_text(top_lines(groups, GroupBy.APPLICATION, across, 3))
        assert len(lines) == 4
        assert all(cell_width(line) <= max(across, 26) for line in lines)
    assert lines[0].strip() == "applications, 3 in 3 more"
    assert [line.split()[0] for line in lines[1:]] == ["4", "3", "2"]
    assert len(top_lines(groups[:1], GroupBy.APPLICATION, 80, 3)) == 4
    assert top_lines(groups, GroupBy.APPLICATION, 80, top_count(24)) == []


@given(st.text("0123456789/%≤-_.: ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=9), scales)
def test_a_text_is_as_wide_as_it_is_said_to_be(text: str, scale: Scale) -> None:
    rows = big(text, scale)
    assert is_drawable(text)
    assert {len(row) for row in rows} == {width(text, scale)}
    assert len(rows) == scale.height


async def test_name_figures_and_word_are_drawn_large_from_20_lines_on(snapshot: Snapshot) -> None:
    """Each in the widest letters that fit; a name that does not fit at all is text."""
    high = Standing(holding(snapshot, 83, 97), 0.8, 2.0, Since(snapshot.taken_at, is_exact=True))
    two, narrow = Scale(2, 2), Scale(1, 2)
    for size, name, drawn in (
        ((80, 24), "prod", big("PROD", two)),
        ((60, TALL), "prod", big("PROD", narrow)),
        ((80, 24), "db-1.eu_2", big("DB-1.EU_2", narrow)),
        ((120, 40), "prod", big("PROD", Scale(3, 3))),
        ((200, 60), "prod", big("PROD", Scale(4, 4))),
        ((80, 24), "a-name-that-is-far-too-long", ("a-name-that-is-far-too-long",)),
        ((80, 24), "büro", ("büro",)),
    ):
        lines = as_text(figure_lines(high, None, server_label(name, "", ""), *size))
        scale = Scale(*[next(n for least, n in ((56, 4), (38, 3), (20, 2)) if size[1] >= least)] * 2)
        for rows in (drawn, big("85%", scale), big("HIGH", scale)):
            assert stands_in(rows, lines), (name, size, lines)
        assert ("83 of 97" in " ".join(lines)) is not stands_in(big("83/97", scale), lines)


def stands_in(rows: Sequence[str], lines: Sequence[str]) -> bool:
    """True if the rows stand one below the other, at the same place, in the lines."""
    for first in range(len(lines) - len(rows) + 1):
        below = lines[first : first + len(rows)]
        for at in range(len(below[0])):
            if all(
                line[at : at + len(row)].ljust(len(row)) == row for line, row in zip(below, rows, strict=True)
            ):
                return True
    return False


async def test_in_ascii_large_letters_are_made_of_whole_cells(snapshot: Snapshot) -> None:
    for standing, outage in standings(snapshot, 97):
        for across, down in ((60, 12), (80, 24), (120, 40), (200, 60)):
            lines = as_text(figure_lines(standing, outage, LABEL, across, down, ascii_only=True))
            assert not set("▀▄") & set("".join(lines))
            assert sum("##" in to_ascii(line) for line in lines) >= (5 if down > 12 else 1)


async def test_the_wall_says_how_long_and_no_sentence_twice(snapshot: Snapshot) -> None:
    now = snapshot.taken_at
    leak = Finding(Kind.LEAK, Grade.LOOKS_LIKE, 44, "leak in web: full at about 12:20", full_at=now)
    since, soon = Since(now - 14 * 60 * MICROSECONDS, is_exact=True), Forecast(now + 600 * MICROSECONDS)
    high = Standing(holding(snapshot, 83, 97), 0.8, 2.0, since, forecast=soon)

    def text(standing: Standing, outage: Outage | None = None) -> str:
        words = " ".join(as_text(figure_lines(standing, outage, LABEL, 120, 40)))
        return " ".join(words.replace("█", " ").split())

    assert ", for 14m · full at about " in text(high)
    told = text(high._replace(findings=(leak,)))
    assert "▲ over the 80% line since " in told
    assert told.count("full at about") == 1, "the finding says it"
    assert ", for 14m" in text(high._replace(snapshot=holding(snapshot, 97, 97)))
    down = high._replace(outage=OUTAGES[0], age_seconds=182.0, findings=(leak,))
    told = text(down, OUTAGES[0])
    assert f"✗ since {clock(now)} · figures 3m 02s old · no server listens" in told
    assert "leak" not in told, "of what happens meanwhile nothing is known"
    assert "leak in web" in text(down, OUTAGES[-1]), "a full server is full for a reason"


async def test_the_last_day_has_the_line_below_the_band(snapshot: Snapshot) -> None:
    """Where figures are large; the lines above stay as they are."""
    standing, _ = standings(snapshot, 97)[0]
    assert standing is not None
    told = standing._replace(last_day="last 24h: 2 episodes")
    for across, down in ((80, 24), (120, 40), (60, 20)):
        without = as_text(figure_lines(standing, None, LABEL, across, down))
        *above, line = as_text(figure_lines(told, None, LABEL, across, down))
        assert above == without
        assert line.rstrip() == " last 24h: 2 episodes"
    assert figure_lines(told, None, LABEL, 80, 19) == figure_lines(standing, None, LABEL, 80, 19)
