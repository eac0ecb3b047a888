"""The CONNECTION LIMITs: which are reached, in whose words, how often they are told."""

import pytest

from pgtop.core.activity import ConnectionLimit, LimitOf, Limits, Snapshot
from pgtop.core.connection_limits import (
    AGAIN_SECONDS,
    limit_uses,
    newly_reached,
    reached,
    reached_words,
    use_of_group,
)
from pgtop.core.session_groups import GroupBy, group
from tests.builders import backend, server_of, snapshot

BILL = ConnectionLimit(LimitOf.ROLE, "bill", 3)
SHOP = ConnectionLimit(LimitOf.DATABASE, "shop", 5)


def seen(bill: int, others: int = 0, *limits: ConnectionLimit, hidden: int = 0) -> Snapshot:
    of_bill = [backend(10 + n, usename="bill") for n in range(bill - hidden)]
    of_bill += [backend(50 + n, state=None, backend_start=None, usename="bill") for n in range(hidden)]
    of_web = [backend(100 + n, usename="web", application_name="web") for n in range(others)]
    return snapshot(*of_bill, *of_web, connection_limits=limits or (BILL, SHOP))


@pytest.mark.parametrize(
    ("bill", "others", "said"),
    [
        (2, 0, ""),
        (3, 0, "role bill at its limit of 3"),
        (4, 0, "role bill at its limit of 3"),
        (2, 3, "database shop at its limit of 5"),
        (3, 2, "database shop at its limit of 5, and 1 more"),
    ],
)
def test_a_limit_is_reached_by_its_own_sessions(bill: int, others: int, said: str) -> None:
    """All sessions of a database count against its limit, a superuser's too."""
    assert reached_words(limit_uses(seen(bill, others))) == said


def test_a_limit_that_cannot_be_reached_is_left_out() -> None:
    shut = ConnectionLimit(LimitOf.ROLE, "bill", 0)
    assert not reached(limit_uses(seen(2, 0, shut))), "somebody has closed the role on purpose"
    assert reached_words(limit_uses(seen(3, 0, hidden=1))) == "", "an upper bound refuses nobody"
    wide = ConnectionLimit(LimitOf.ROLE, "bill", 100)
    assert not limit_uses(snapshot(connection_limits=(wide,), server=server_of(Limits(100, 3))))


def test_a_group_shows_the_limit_that_its_sessions_count_against() -> None:
    shot = seen(2, 1)
    uses = limit_uses(shot)
    shown = {
        by: {
            row.application: use.figures
            for row in group(shot.backends, by, shot.taken_at, 97)
            if (use := use_of_group(row, uses)) is not None
        }
        for by in (GroupBy.APPLICATION, GroupBy.DATABASE)
    }
    assert shown == {
        GroupBy.APPLICATION: {"app": "2/3", "web": "3/5"},
        GroupBy.DATABASE: {"2 applications": "3/5"},
    }
    full = seen(3, 1)
    for by in (GroupBy.DATABASE, GroupBy.ADDRESS):
        (row,) = group(full.backends, by, full.taken_at, 97)
        use = use_of_group(row, limit_uses(full))
        assert (use.figures if use else None) == ("4/5" if by is GroupBy.DATABASE else None), (
            "a role's limit beside a database's name would be taken for the database's"
        )


def test_a_limit_is_told_once_while_a_pool_touches_it() -> None:
    calm, at_it = limit_uses(seen(2)), limit_uses(seen(3))
    new, known = newly_reached(at_it, {}, 0.0)
    assert [use.limit for use in new] == [BILL]
    for now, uses in ((2.0, at_it), (4.0, calm), (6.0, at_it), (AGAIN_SECONDS + 5, calm)):
        new, known = newly_reached(uses, known, now)
        assert not new, now
    new, known = newly_reached(at_it, known, AGAIN_SECONDS + 7)
    assert [use.limit for use in new] == [BILL]
