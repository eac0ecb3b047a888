"""The change of a group: a bound from the sessions' ages at first, then what was seen."""

from pgtop.core.activity import MICROSECONDS
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
