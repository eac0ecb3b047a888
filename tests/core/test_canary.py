"""The judgement of a canary: who goes first, who goes on, and what is said of it."""

import pytest

from pgtop.core.canary import Canary, Seen, canaries, canary_sentence, first_step, intention, second_step
from pgtop.core.plan import Outcome, ReapPolicy, SparedFor
from pgtop.core.policy import plan_sweep
from tests.builders import backend, ended, snapshot, spared

PLAN = plan_sweep(
    snapshot(
        *(backend(10 + n, age=900 - n, application_name="web") for n in range(3)),
        *(backend(20 + n, age=800 - n, application_name="leaky") for n in range(4)),
        backend(30, age=700, application_name=None),
        backend(31, age=10, application_name="web"),
    ),
    ReapPolicy(),
)
CHOSEN = canaries(PLAN, {"web": 4, "leaky": 4, "": 1})


def seen_of(after: int | None, outcome: Outcome = Outcome.TERMINATED, name: str = "web") -> Seen:
    """One of the applications after the pause."""
    return Seen(next(each for each in CHOSEN if each.application_name == name), outcome, after)


def test_the_longest_idle_of_each_application_goes_first() -> None:
    assert ended(first_step(PLAN, CHOSEN)) == [10, 20, 30]
    assert [(each.application_name, len(each.others), each.before) for each in CHOSEN] == [
        ("web", 2, 4),
        ("leaky", 3, 4),
        ("", 0, 1),
    ]


@pytest.mark.parametrize(
    ("after", "outcome", "goes_on"),
    [
        (3, Outcome.TERMINATED, True),
        (0, Outcome.TERMINATED, True),
        (4, Outcome.TERMINATED, False),
        (9, Outcome.TERMINATED, False),
        (None, Outcome.TERMINATED, False),
        *((3, each, False) for each in Outcome if each is not Outcome.TERMINATED),
    ],
)
def test_the_others_go_only_where_it_stays_away(after: int | None, outcome: Outcome, goes_on: bool) -> None:
    """A first session that is not gone tells nothing: the others are left alone."""
    rest = second_step(PLAN, (seen_of(after, outcome), seen_of(3, name="leaky")))
    assert ended(rest) == ([11, 12, 21, 22, 23] if goes_on else [21, 22, 23])
    assert spared(rest) == ({} if goes_on else {11: SparedFor.CANARY, 12: SparedFor.CANARY})


def test_each_sight_has_its_sentence() -> None:
    canary = Canary("leaky-worker", CHOSEN[0].first, CHOSEN[1].others, 44)
    alone = Canary("etl", CHOSEN[0].first, (), 1)
    gone, denied = Outcome.TERMINATED, Outcome.DENIED
    said = [
        canary_sentence(each)
        for each in (
            seen_of(4),
            Seen(canary, gone, 43, (gone, gone, gone)),
            Seen(canary, gone, 40, (gone, Outcome.CHANGED, gone)),
            Seen(canary, denied, 44),
            Seen(canary, gone, None),
            Seen(alone, gone, 0),
            Seen(alone, gone, 1),
        )
    ]
    assert said == [
        "web came back with 4 of 4: left alone",
        "leaky-worker stayed at 43: the other 3 terminated",
        "leaky-worker fell to 40: 2 of the other 3 terminated",
        "leaky-worker: its first session was not terminated (denied): left alone",
        "leaky-worker: the second step was not taken: left alone",
        "etl stayed at 0",
        "etl came back with 1 of 1",
    ]
    assert (
        intention(canary, 10)
        == "leaky-worker: 1 of 44 sessions first; after 10s the other 3 unless it comes back"
    )
    assert intention(alone, 10) == "etl: 1 session"
