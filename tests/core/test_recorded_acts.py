"""The acts of a recording and of the audit log: each is told once."""

from typing import Any

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.plan import Outcome
from pgtop.core.recorded_acts import ToldAct, all_acts, told_act
from tests.builders import NOW, acted

ACTED = acted()


def audited(seconds: float, sessions: set[tuple[int, int]], **fields: Any) -> ToldAct:
    known = told_act(ACTED)
    other = {
        "at": NOW + round(seconds * MICROSECONDS),
        "operator": "root@db1",
        "sessions": frozenset(sessions),
    }
    return msgspec.structs.replace(known, **{**other, **fields})


def test_the_same_sessions_are_the_same_act_whatever_the_clocks() -> None:
    """The recording's time stays, by the server's clock, and the audit log knows the operator's host."""
    (act,) = all_acts([ACTED], [audited(-9000, {(10, 5), (11, 5), (12, 5)})])
    assert (act.at, act.operator, act.gone, act.asked) == (NOW, "root@db1", 2, 3)


def test_an_act_that_was_not_recorded_comes_from_the_audit_log() -> None:
    """As of `pgtop reap`; a pid that is used again is another session."""
    acts = all_acts([ACTED], [audited(-5, {(10, 6)}, face="reap"), audited(5, {(99, 1)}, face="reap")])
    assert [(each.at - NOW, each.face) for each in acts] == [
        (-5 * MICROSECONDS, "reap"),
        (0, "daemon"),
        (5 * MICROSECONDS, "reap"),
    ]


def test_an_act_that_reached_no_session_is_known_by_its_time() -> None:
    none = acted(outcomes=((Outcome.DENIED, 3),), backends=())
    alike = {"outcomes": (("denied", 3),)}
    assert len(all_acts([none], [audited(30, {(10, 5)}, **alike)])) == 1
    assert len(all_acts([none], [audited(300, {(10, 5)}, **alike)])) == 2
    assert len(all_acts([none], [audited(30, {(10, 5)}, **alike, face="reap")])) == 2


def test_a_recorded_act_takes_one_account_only() -> None:
    """Two that are alike in the audit log are two acts."""
    twice = [audited(0, {(10, 5)}), audited(1, {(11, 5)})]
    assert len(all_acts([ACTED], twice)) == 2
