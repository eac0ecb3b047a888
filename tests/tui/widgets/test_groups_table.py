"""The change of a group: a bound from the sessions' ages at first, then what was seen."""

from pgtop.core.activity import MICROSECONDS, ConnectionLimit, LimitOf
from pgtop.core.connection_limits import LimitUse
from pgtop.core.session_groups import Group, GroupBy, GroupHistory, GroupKey, group
from pgtop.tui.widgets.groups_table import GroupsTable
from tests.builders import NOW, backend


def web(now: int, ages: list[float]) -> tuple[Group, ...]:
    backends = [
        backend(
            1 + n,
            application_name="web",
            backend_start=now - round(age * MICROSECONDS),
            state_change=now - MICROSECONDS,
        )
        for n, age in enumerate(ages)
    ]
    return group(tuple(backends), GroupBy.APPLICATION, now, 100)


def test_a_surge_is_seen_at_the_first_poll() -> None:
    """What left in that time is not known: the number is a bound."""
    table, history = GroupsTable(), GroupHistory[GroupKey]()
    groups = web(NOW, [10.0, 20.0, 200.0, 299.0, 3600.0, 7200.0])
    table.show_groups(groups, NOW, history)
    assert table.cell(groups[0], "change", 7).text == "≤+4"
    assert [table.head_title(each) for each in table.COLUMNS if each.key == "change"] == ["in 5m"]


def test_after_a_minute_the_change_seen_counts() -> None:
    table, history = GroupsTable(), GroupHistory[GroupKey]()
    history.add(NOW, {each.key: each.total for each in web(NOW, [3600.0] * 4)})
    later = NOW + 61 * MICROSECONDS
    groups = web(later, [3600.0] * 4 + [30.0] * 3)
    table.show_groups(groups, later, history)
    assert table.cell(groups[0], "change", 7).text == "+3"
    assert [table.head_title(each) for each in table.COLUMNS if each.key == "change"] == ["in 1m"]


def test_a_share_is_a_percent_and_a_bar_with_the_groups_own_limit() -> None:
    table = GroupsTable()
    groups = web(NOW, [3600.0] * 50)
    table.show_groups(groups, NOW, GroupHistory[GroupKey]())
    assert table.cell(groups[0], "share", 15).text == " 50% ━━━━━"
    bill = LimitUse(ConnectionLimit(LimitOf.ROLE, groups[0].user, 60), 50)
    table.show_groups(groups, NOW, GroupHistory[GroupKey](), [bill])
    assert table.cell(groups[0], "share", 28).text == " 50% ━━━━━━━━━━  50/60 limit"
    assert table.cell(groups[0], "share", 10).text == " 50% 50/60"


def test_no_change_is_a_dot() -> None:
    table, history = GroupsTable(), GroupHistory[GroupKey]()
    groups = web(NOW, [3600.0] * 4)
    history.add(NOW, {each.key: each.total for each in groups})
    later = NOW + 61 * MICROSECONDS
    table.show_groups(groups, later, history)
    assert table.cell(groups[0], "change", 7).text == "·"


def test_the_table_is_as_tall_as_the_groups_of_the_last_minute() -> None:
    """A group that comes and goes must not move the list below at each poll."""
    table = GroupsTable()
    for seconds, number, lines in ((0, 3, 4), (2, 5, 6), (4, 3, 6), (62, 3, 6), (64, 3, 4), (-9, 1, 2)):
        now = NOW + seconds * MICROSECONDS
        table.show_groups(web(now, [1.0]) * number, now, GroupHistory[GroupKey]())
        assert table.wanted_lines == lines, seconds
