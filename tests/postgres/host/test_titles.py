"""Process titles, read: whom a client backend serves is never guessed, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.postgres.host.titles import CONNECTING, Kind, Signs, Title, cluster_prefix, kind_of, read_title

PLAIN = "postgres: "

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
ODD_NAMES = st.sampled_from(
    ["app", "a b", "[local]", "x [local] idle", "walsender", "10.0.0.1(5)", "u 10.0.0.1(5) idle", " a", "b "]
)
ACTIVITIES = st.sampled_from(
    ["idle", "idle in transaction", "idle in transaction (aborted)", "SELECT", "SELECT waiting", "startup"]
)
HOSTS = st.sampled_from(
    ["[local]", "10.0.4.7(511)", "::1(5432)", "fe80::1%eth0(9)", "db-1.example.org(40000)"]
)
PREFIXES = st.one_of(st.just(PLAIN), st.sampled_from(["postgres: main: ", "postgres: my cluster: x: "]))


@given(prefix=PREFIXES, user=NAMES | ODD_NAMES, database=NAMES | ODD_NAMES, host=HOSTS, activity=ACTIVITIES)
def test_the_true_user_and_database_are_always_among_the_readings(
    prefix: str, user: str, database: str, host: str, activity: str
) -> None:
    """Whatever the names hold: blanks, `[local]`, parentheses, what looks like another title."""
    title = read_title(f"{prefix}{user} {database} {host} {activity}", prefix)
    assert title is not None
    assert (user, database) in title.readings
    assert title.activity == activity
    assert title.port == (None if host == "[local]" else int(host.rpartition("(")[2][:-1]))


OTHERS = (
    "checkpointer ",
    "background writer ",
    "autovacuum launcher ",
    "autovacuum worker shop",
    "autovacuum worker x [local] idle",
    "autovacuum worker x 10.0.0.9(40000) idle",
    "logical replication launcher ",
    "logical replication worker for subscription 16399 ",
    "logical replication apply worker for subscription 16399 ",
    "parallel worker for PID 4711 ",
    "io worker 0",
    "startup recovering 000000010000000000000001",
    "archiver last was 000000010000000000000001",
)
"""Processes that serve no client; the database's name in an autovacuum worker's title is anybody's choice."""

WALSENDERS = (
    "walsender replicator 10.0.0.9(40000) streaming 0/3000148",
    "walsender app shop 10.0.0.9(40000) idle",
    "walsender app 10.0.0.9(40000) authentication",
    "walsender app [local] idle",
)

IMITATIONS = (
    *(f"{each} shop 10.0.0.9(40000) idle" for each in OTHERS),
    *(f"shop {each} [local] idle" for each in OTHERS),
    "postgres: checkpointer  x [local] idle",
    "main: app shop [local] idle",
    "bgworker: x shop [local] idle",
    "startup startup [local] idle",
    "idle idle [local] idle",
    "[local] [local] [local] idle",
    "(5) 10.0.0.9(40001) 10.0.0.9(40000) idle",
    "  [local] x [local] idle",
)
"""Titles of ordinary clients by the names of their role or database."""


@pytest.mark.parametrize("prefix", [PLAIN, "postgres: main: "])
@pytest.mark.parametrize("body", OTHERS)
def test_a_process_without_a_connection_is_not_a_client(prefix: str, body: str) -> None:
    """Whatever its title says."""
    assert kind_of(prefix + body, prefix, Signs(holds_connection=False)) is Kind.OTHER


@pytest.mark.parametrize("body", WALSENDERS)
def test_a_walsender_is_known_by_its_handler(body: str) -> None:
    """Of one that shows no sign it is not said that it is a client that may be ended."""
    for holds in (True, False):
        assert kind_of(PLAIN + body, PLAIN, Signs(holds, catches_usr2=True)) is Kind.OTHER
    assert kind_of(PLAIN + body, PLAIN, Signs(holds_connection=True)) is Kind.UNCLEAR
    assert kind_of(PLAIN + body, PLAIN, Signs(holds_connection=False)) is Kind.OTHER


@pytest.mark.parametrize("prefix", [PLAIN, "postgres: main: "])
@pytest.mark.parametrize("body", [*WALSENDERS, *IMITATIONS])
def test_no_name_hides_a_client(prefix: str, body: str) -> None:
    """Who holds a connection, and ignores what walsenders catch, is one."""
    signs = Signs(holds_connection=True, ignores_usr2=True)
    assert kind_of(prefix + body, prefix, signs) is Kind.CLIENT


def test_a_client_whose_title_cannot_be_read_is_unclear() -> None:
    for title in ("postgres: app a-very-long-na", "postgres: ", "something else"):
        assert kind_of(title, PLAIN, Signs(holds_connection=True)) is Kind.UNCLEAR
        assert kind_of(title, PLAIN, Signs(holds_connection=False)) is Kind.OTHER


def test_a_client_whose_connection_was_reset_is_still_one() -> None:
    """The kernel lists no such connection; a title without an activity is then not believed."""
    signs = Signs(holds_connection=False)
    assert kind_of("postgres: app shop 10.0.4.7(511) SELECT", PLAIN, signs) is Kind.CLIENT
    assert kind_of("postgres: app shop 10.0.4.7(511)", PLAIN, signs) is Kind.OTHER


def test_a_title_without_the_servers_own_prefix_is_nobodys() -> None:
    assert read_title("postgres: app shop [local] idle", "postgres: main: ") is None
    assert read_title("vim app shop [local] idle", PLAIN) is None


def test_a_cluster_name_is_learnt_and_not_guessed() -> None:
    """A worker that calls itself like a server's own process does not lengthen it."""
    titles = [
        "postgres: a: b: checkpointer ",
        "postgres: a: b: x: checkpointer",
        "postgres: a: b: app c [local] idle",
    ]
    assert cluster_prefix(titles) == "postgres: a: b: "
    assert cluster_prefix(["postgres: checkpointer "]) == PLAIN
    assert cluster_prefix(["postgres: app shop [local] idle", "bash"]) is None


@pytest.mark.parametrize(
    ("activity", "state"),
    [
        ("idle", "idle"),
        ("idle in transaction", "idle in transaction"),
        ("idle in transaction (aborted)", "idle in transaction (aborted)"),
        ("<FASTPATH>", "fastpath function call"),
        ("authentication", "starting"),
        ("SELECT", "active"),
        ("idle ", "active"),
        ("something new", "active"),
        ("", "active"),
    ],
)
def test_only_idle_is_idle(activity: str, state: str) -> None:
    """What is not known is taken for work."""
    title = Title("app shop", None, None, activity)
    assert title.state == state
    assert title.is_connecting == (activity in CONNECTING)
