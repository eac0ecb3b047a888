"""The change of a group: a bound from the sessions' ages at first, then what was seen."""

from collections.abc import Mapping

from textual.app import App, ComposeResult
from textual.widgets import Input

from pgtop.core.activity import MICROSECONDS, ConnectionLimit, LimitOf
from pgtop.core.connection_limits import LimitUse
from pgtop.core.session_groups import Group, GroupBy, GroupHistory, GroupKey, group
from pgtop.tui.themes import DARK
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
    """What left in that time is not known: the head says that the number is of new sessions, not a change."""
    table, history = GroupsTable(), GroupHistory[GroupKey]()
    groups = web(NOW, [10.0, 20.0, 200.0, 299.0, 3600.0, 7200.0])
    table.show_groups(groups, NOW, history)
    assert table.cell(groups[0], "change", 7).text == "4"
    assert [table.head_title(each) for each in table.COLUMNS if each.key == "change"] == ["new 5m"]


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


class GroupsApp(App[None]):
    """The table of groups above a widget that takes the focus."""

    def __init__(self) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.theme = DARK.name

    def compose(self) -> ComposeResult:
        yield Input()
        yield GroupsTable()

    def group_names(self, totals: Mapping[str, int]) -> list[str]:
        """Show applications with these totals, and return the rows that are in sight."""
        table = self.query_one(GroupsTable)
        backends = [
            backend(1 + n, application_name=name)
            for n, name in enumerate(name for name, total in totals.items() for _ in range(total))
        ]
        table.show_groups(group(backends, GroupBy.APPLICATION, NOW, 100), NOW, GroupHistory())
        return self.names_in_sight()

    def names_in_sight(self) -> list[str]:
        """Return the first words of the rows that are in sight."""
        table = self.query_one(GroupsTable)
        lines = (table.render_line(y).text.split() for y in range(1, table.size.height))
        return [words[0] for words in lines if words]


async def test_the_heaviest_group_is_in_sight_unless_somebody_moved() -> None:
    """Also after the table was less tall for a while, and a row that was the first has gone down."""
    async with GroupsApp().run_test(size=(80, 24)) as pilot:
        app = pilot.app
        assert isinstance(app, GroupsApp)
        table = app.query_one(GroupsTable)

        async def tall(lines: int) -> None:
            table.styles.height = lines
            await pilot.pause()

        await tall(5)
        app.group_names({"web": 9, "batch": 4, "cron": 2, "leak": 1})
        assert app.group_names({"leak": 30, "batch": 12, "web": 9, "cron": 2})[0] == "leak"
        await tall(3)
        await tall(4)
        assert app.names_in_sight()[0] == "leak"
        row = table.cursor_row
        assert row is not None
        assert row.key.application_name == "leak", "the cursor rests on the heaviest until somebody moves it"

        table.focus()
        await pilot.press("end")
        assert app.names_in_sight()[-1] == "cron"
        assert app.group_names({"leak": 31, "batch": 12, "web": 9, "cron": 2})[-1] == "cron"
        await pilot.press("up", "up")
        assert app.names_in_sight()[0] == "batch"
        table.let_go()
        assert app.names_in_sight()[0] == "leak"
