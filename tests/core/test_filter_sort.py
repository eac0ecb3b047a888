"""The tables' rows: groups add up, a filter keeps what was asked for, and the order is always one."""

import random
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.activity import Backend
from pgtop.core.filter_sort import (
    FIELDS,
    SortColumn,
    parse_filter,
    sort_backends,
    stale,
)
from pgtop.core.session_groups import GroupBy, GroupKey, applications, group, key_name
from pgtop.core.session_labels import NO_APPLICATION, NO_USER, address, client, label, state, wait
from tests.builders import NOW, snapshot

SECOND = 1_000_000
SLOTS = 97

IDLER = Backend(
    pid=4711,
    backend_start=NOW - 900 * SECOND,
    state_change=NOW - 840 * SECOND,
    xact_start=None,
    query_start=NOW - 840 * SECOND,
    state="idle",
    application_name="leaky-worker",
    usename="app",
    datname="shop",
    client_addr="10.0.4.7",
    client_port=511,
    wait_event_type="Client",
    wait_event="ClientRead",
    is_superuser=False,
    query="SELECT * FROM Jobs WHERE done",
)
MASKED = Backend(12, None, None, None, None, None, "x", "bob", "shop", None, None, None, None, False, None)


def like(**fields: Any) -> Backend:
    """The idler, but for these fields."""
    return msgspec.structs.replace(IDLER, **fields)


names = st.one_of(st.none(), st.sampled_from(["", "web", "WEB", "(no name)", "leaky-worker"]))
times = st.one_of(st.none(), st.integers(NOW - 5 * SECOND, NOW + SECOND), st.just(NOW - SECOND))
backend_lists = st.lists(
    st.builds(
        like,
        backend_start=times,
        state_change=times,
        xact_start=times,
        state=st.sampled_from([None, "idle", "active", "idle in transaction", "starting", "new in 20"]),
        application_name=names,
        usename=names,
        datname=names,
        client_addr=st.sampled_from([None, "10.0.4.7", "10.0.10.1", "::1", "no address"]),
        client_port=st.sampled_from([None, -1, 511, 80]),
        wait_event_type=st.sampled_from([None, "Lock"]),
        query=st.one_of(st.none(), st.text(max_size=5)),
    ),
    max_size=25,
).map(lambda backends: [msgspec.structs.replace(one, pid=pid) for pid, one in enumerate(backends, 1)])


# Groups


@given(backend_lists, st.sampled_from(GroupBy))
def test_every_session_is_in_exactly_one_group(backends: list[Backend], by: GroupBy) -> None:
    groups = group(backends, by, NOW, SLOTS)
    assert sum(one.total for one in groups) == len(backends)
    assert sum(one.share for one in groups) == pytest.approx(len(backends) / SLOTS)
    for one in groups:
        assert one.total == sum(one.key.matches(backend) for backend in backends)
        assert one.total >= one.idle + one.active + one.in_transaction
    for backend in backends:
        assert sum(one.key.matches(backend) for one in groups) == 1


@given(backend_lists, st.sampled_from(GroupBy), st.integers())
def test_groups_do_not_depend_on_the_order_of_the_sessions(
    backends: list[Backend], by: GroupBy, seed: int
) -> None:
    shuffled = random.Random(seed).sample(backends, len(backends))  # noqa: S311 - no secret
    assert group(shuffled, by, NOW, SLOTS) == group(backends, by, NOW, SLOTS)
    assert applications(snapshot(*shuffled)) == applications(snapshot(*backends))


def test_a_group_counts_its_states_and_knows_its_longest_idle_session() -> None:
    backends = [
        IDLER,
        like(state_change=NOW - 3 * SECOND),
        like(state="active", state_change=NOW - 9999 * SECOND),
        like(state="idle in transaction (aborted)"),
        like(application_name="web", state="active"),
    ]
    leaky, web = group(backends, GroupBy.APPLICATION, NOW, SLOTS)
    assert (leaky.application, leaky.user, leaky.total) == ("leaky-worker", "app", 4)
    assert (leaky.idle, leaky.active, leaky.in_transaction) == (2, 1, 1)
    assert leaky.oldest_idle_seconds == 840
    assert leaky.share == 4 / SLOTS
    assert web.oldest_idle_seconds is None


def test_the_largest_group_stands_first_and_equal_ones_by_name() -> None:
    backends = [like(application_name=name) for name in ("b", "c", "a", "c", "")]
    assert [one.application for one in group(backends, GroupBy.APPLICATION, NOW, SLOTS)] == [
        "c",
        "(no name)",
        "a",
        "b",
    ]


def test_a_group_of_mixed_users_says_how_many() -> None:
    (one,) = group([IDLER, like(usename="web"), like(usename=None)], GroupBy.APPLICATION, NOW, SLOTS)
    assert one.user == "3 users"
    assert one.database == "shop"


def test_a_session_without_a_name_is_not_one_that_is_named_so() -> None:
    unnamed, named = group(
        [like(application_name=""), like(application_name=None), like(application_name="(no name)")],
        GroupBy.APPLICATION,
        NOW,
        SLOTS,
    )
    assert (unnamed.application, unnamed.total) == ("(no name)", 2)
    assert (named.application, named.total) == ('"(no name)"', 1)


def test_sockets_and_hidden_addresses_are_two_groups() -> None:
    local = like(client_addr=None, client_port=-1)
    rows = group([local, local, MASKED, IDLER], GroupBy.ADDRESS, NOW, SLOTS)
    assert [(row.client, row.total) for row in rows] == [("local", 2), ("10.0.4.7", 1), ("hidden", 1)]


def test_statements_that_differ_in_literals_are_one_group() -> None:
    """A session without one is not a hidden one."""
    backends = [
        *(like(query=f"SELECT * FROM jobs WHERE id = {number}") for number in range(3)),
        like(query=""),
        like(query=None),
        msgspec.structs.replace(MASKED, query="<insufficient privilege>"),
    ]
    rows = group(backends, GroupBy.STATEMENT, NOW, SLOTS)
    assert [(key_name(row.key, GroupBy.STATEMENT), row.total) for row in rows] == [
        ("SELECT * FROM jobs WHERE id = ?", 3),
        ("hidden", 2),
        ("(no statement)", 1),
    ]


def test_the_json_tells_apart_application_user_and_database() -> None:
    rows = applications(snapshot(IDLER, IDLER, like(usename="web"), like(datname="crm")))
    assert [(row.key.application_name, row.key.usename, row.key.datname, row.total) for row in rows] == [
        ("leaky-worker", "app", "shop", 2),
        ("leaky-worker", "app", "crm", 1),
        ("leaky-worker", "web", "shop", 1),
    ]


def test_an_empty_key_matches_all() -> None:
    assert GroupKey().matches(IDLER)
    assert GroupKey().matches(MASKED)


# Filter


@given(st.text(st.one_of(st.sampled_from('"-!: \tapquery'), st.characters(codec=None)), max_size=30))
def test_a_filter_never_raises(text: str) -> None:
    kept = parse_filter(text)
    assert isinstance(kept.matches(IDLER, NOW), bool)
    assert isinstance(kept.matches(MASKED, NOW), bool)


KEPT: Final = (
    *(
        "",
        "  ",
        "leaky",
        "LEAKY app",
        "jobs",
        "4711",
        "47",
        "10.0.4",
        ":511",
        "shop idle",
        "App:leaky",
        "user:APP",
    ),
    *("db:shop", "addr:10.0", "client:10.0.4.7:511", "address:10.0", "database:sho", "application:work"),
    *("state:idle", "pid:4711", "query:jobs", '"from jobs"', 'query:"from jobs"', "-web", "!web", "-app:web"),
    *('-"from web"', "app:", "-", '"', '"from jo'),
    *("idle>5m", "idle>=840", "IDLE < 15min app:leaky", "idle<=14m -idle>1h", "age>14m age<1h", "-txn>0"),
)
LEFT_OUT: Final = (
    *("nothing", "leaky web", "app:shop", "user:leaky", "db:app", "addr:511x", "state:active", "pid:47"),
    *(
        "query:web",
        '"jobs from"',
        '"from web',
        "-leaky",
        "!leaky",
        "-app:leaky",
        '-"from jobs"',
        "-state:idle",
    ),
    "leaky -jobs",
    *("idle>14m", "idle<840", "-idle>5m", "txn>0", "txn<1h", "age<900", "idle>5m web"),
)
PROBLEMS: Final = {
    "stat:idle": "unknown field stat: (state?)",
    "app:web -stat:idle": "unknown field stat: (state?)",
    "idel>5m": "unknown field idel> (idle?)",
    "http://x": "unknown field http: (in quotes it is text)",
    "idle>soon": '"soon" is not a duration, such as 30s, 5m or 1h',
    "txn>\x1b[2J": '"·[2J" is not a duration, such as 30s, 5m or 1h',
    "age>": "age> needs a duration, such as 5m",
    "age=5m": "age is compared with >, <, >= or <=",
    "idle:5m": "idle is compared, as in idle>5m",
    "app>web": "app takes a colon, as in app:web",
}


@pytest.mark.parametrize("text", KEPT)
def test_these_filters_keep_the_session(text: str) -> None:
    assert parse_filter(text).matches(IDLER, NOW)


@pytest.mark.parametrize("text", LEFT_OUT)
def test_these_filters_leave_out_the_session(text: str) -> None:
    assert not parse_filter(text).matches(IDLER, NOW)


@pytest.mark.parametrize("text", PROBLEMS)
def test_a_filter_with_an_error_says_so_and_lists_nothing(text: str) -> None:
    """Also where the wrong term is negated; quoted, it is text that is searched for."""
    wrong = parse_filter(text)
    assert wrong.problem == PROBLEMS[text]
    assert wrong.narrows
    assert not any(wrong.matches(each, NOW) for each in (IDLER, MASKED))
    assert parse_filter(f'"{text}"').problem == ""


def test_text_with_colons_that_name_no_field_is_searched_for() -> None:
    on_v6 = like(client_addr="fe80::1", query="SELECT 'a'::text, b->'c'")
    for text in ("fe80::1", "'a'::text", "b->'c'", "[fe80::1]:511", "10.0.4.7:511"):
        assert parse_filter(text).problem == ""
    assert parse_filter("fe80::1").matches(on_v6, NOW)
    assert parse_filter("client:fe80::1").matches(on_v6, NOW)


def test_an_age_that_is_hidden_or_absent_passes_no_comparison() -> None:
    for text in ("idle>0", "idle<1h", "txn<1h", "age>=0"):
        assert not parse_filter(text).matches(MASKED, NOW)
    working = like(state="active", xact_start=NOW - 60 * SECOND)
    assert not parse_filter("idle>0").matches(working, NOW)
    assert parse_filter("txn>30s txn<=1m").matches(working, NOW)


def test_a_whole_state_means_that_state_and_no_other() -> None:
    in_transaction = like(state="idle in transaction")
    assert not parse_filter("state:idle").matches(in_transaction, NOW)
    assert parse_filter("idle").matches(in_transaction, NOW)
    assert parse_filter("state:txn").matches(in_transaction, NOW)
    assert parse_filter('state:"idle in transaction"').matches(in_transaction, NOW)
    assert parse_filter("state:hidden").matches(MASKED, NOW)


def test_words_are_not_found_across_two_fields() -> None:
    assert not parse_filter('"worker app"').matches(IDLER, NOW)


# Order


@given(backend_lists, st.sampled_from(SortColumn), st.booleans(), st.integers())
def test_sorting_loses_nobody_and_does_not_depend_on_the_order_before(
    backends: list[Backend], column: SortColumn, reverse: bool, seed: int
) -> None:
    ordered = sort_backends(backends, column, reverse)
    assert sorted(one.pid for one in ordered) == [one.pid for one in backends]
    shuffled = random.Random(seed).sample(backends, len(backends))  # noqa: S311 - no secret
    assert sort_backends(shuffled, column, reverse) == ordered


@given(backend_lists, st.booleans())
def test_idle_sessions_come_first_by_age_then_others_then_unknown(
    backends: list[Backend], reverse: bool
) -> None:
    ordered = sort_backends(backends, reverse=reverse)
    ranks = [2 if one.state_change is None else int(one.state != "idle") for one in ordered]
    assert ranks == sorted(ranks)
    for rank in (0, 1):
        since = [one.state_change for one, its in zip(ordered, ranks, strict=True) if its == rank]
        assert since == sorted((at for at in since if at is not None), reverse=reverse)


def pids(column: SortColumn, *backends: Backend, reverse: bool = False) -> list[int]:
    return [one.pid for one in sort_backends(backends, column, reverse)]


NO_NAME: Final[dict[str, Any]] = {"application_name": ""}
NO_CLIENT: Final[dict[str, Any]] = {"client_addr": None, "client_port": None}
NO_WAIT: Final[dict[str, Any]] = {"wait_event_type": None, "wait_event": None}


@pytest.mark.parametrize(
    ("column", "small", "large", "missing"),
    [
        (SortColumn.APPLICATION, {"application_name": "api"}, {"application_name": "Web"}, NO_NAME),
        (SortColumn.USER, {"usename": "a"}, {"usename": "b"}, {"usename": None}),
        (SortColumn.DATABASE, {"datname": "a"}, {"datname": "b"}, {"datname": None}),
        (SortColumn.CLIENT, {"client_addr": "10.0.4.7"}, {"client_addr": "10.0.10.1"}, NO_CLIENT),
        (SortColumn.CLIENT, {"client_port": 9}, {"client_port": 80}, NO_CLIENT),
        (SortColumn.STATE, {"state": "active"}, {"state": "idle"}, {"state": None}),
        (SortColumn.SESSION_AGE, {"backend_start": 1}, {"backend_start": 2}, {"backend_start": None}),
        (SortColumn.TRANSACTION_AGE, {"xact_start": 1}, {"xact_start": 2}, {"xact_start": None}),
        (SortColumn.WAIT, {"wait_event_type": "Client"}, {"wait_event_type": "Lock"}, NO_WAIT),
        (SortColumn.QUERY, {"query": "select"}, {"query": "UPDATE"}, {"query": None}),
    ],
)
def test_each_column_sorts_both_ways_with_the_missing_last(
    column: SortColumn, small: dict[str, Any], large: dict[str, Any], missing: dict[str, Any]
) -> None:
    rows = [like(pid=3, **missing), like(pid=2, **large), like(pid=1, **small)]
    assert pids(column, *rows) == [1, 2, 3]
    assert pids(column, *rows, reverse=True) == [2, 1, 3]


def test_equal_sessions_are_ordered_by_start_and_pid_both_ways() -> None:
    rows = [like(pid=2, backend_start=5), like(pid=1, backend_start=5), like(pid=9, backend_start=4)]
    assert pids(SortColumn.USER, *rows) == [9, 1, 2]
    assert pids(SortColumn.USER, *rows, reverse=True) == [9, 1, 2]
    assert pids(SortColumn.PID, *rows, reverse=True) == [9, 2, 1]


# One session


def test_stale_is_idle_for_longer_than_the_limit_and_nothing_else() -> None:
    assert stale(IDLER, NOW, 839)
    assert not stale(IDLER, NOW, 840)
    assert not stale(like(state="idle in transaction"), NOW, 1)
    assert not stale(MASKED, NOW, 1)


def test_the_label_of_a_session() -> None:
    assert client(IDLER) == "10.0.4.7:511"
    assert client(like(client_addr="::1")) == "[::1]:511"
    assert client(like(client_addr=None, client_port=-1)) == "local"
    assert client(MASKED) == "hidden"
    assert client(like(client_addr="\x1b[2J")) == "·[2J:511"
    assert address(MASKED) is None
    assert wait(IDLER) == "Client/ClientRead"
    assert wait(MASKED) == ""
    assert state(MASKED) == "hidden"
    assert state(like(state="idle in transaction (aborted)")) == "aborted"
    assert state(like(state="a state of a later version")) == "a state of…"


def test_a_label_is_printable_and_never_empty() -> None:
    assert label("\x1b[2J", NO_APPLICATION) == "·[2J"
    assert label("  ", NO_APPLICATION) == '" "'
    assert label(None, NO_USER) == "(no user)"


@pytest.mark.parametrize("field", sorted(set(FIELDS.values())))
def test_a_word_without_a_field_is_looked_for_in_each_field(field: str) -> None:
    values: dict[str, Any] = {
        "application": {"application_name": "needle"},
        "user": {"usename": "needle"},
        "database": {"datname": "needle"},
        "address": {"client_addr": "10.99.98.97"},
        "state": {"state": "needle"},
        "pid": {"pid": 987654},
        "query": {"query": "SELECT needle"},
    }
    word = {"address": "10.99.98.97", "pid": "987654"}.get(field, "needle")
    asked = parse_filter(word)
    assert asked.matches(msgspec.structs.replace(IDLER, **values[field]), NOW)
    assert not asked.matches(IDLER, NOW)
