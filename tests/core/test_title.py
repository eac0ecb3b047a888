"""Process titles, read: whom a client backend serves is never guessed, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.title import CONNECTING, Title, cluster_prefix, read_title

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
    if f"{user} {database}".startswith("walsender "):
        assert title is None
        return
    assert title is not None
    assert (user, database) in title.readings
    assert title.activity == activity
    assert title.port == (None if host == "[local]" else int(host.rpartition("(")[2][:-1]))


@pytest.mark.parametrize(
    "body",
    [
        "checkpointer ",
        "background writer ",
        "autovacuum launcher ",
        "autovacuum worker shop",
        "logical replication launcher ",
        "logical replication worker for subscription 16399 ",
        "logical replication apply worker for subscription 16399 ",
        "parallel worker for PID 4711 ",
        "io worker 0",
        "walsender replicator 10.0.0.9(40000) streaming 0/3000148",
        "walsender app shop 10.0.0.9(40000) idle",
        "startup recovering 000000010000000000000001",
        "archiver last was 000000010000000000000001",
    ],
)
@pytest.mark.parametrize("prefix", [PLAIN, "postgres: main: "])
def test_what_is_no_client_is_never_taken_for_one(prefix: str, body: str) -> None:
    assert read_title(prefix + body, prefix) is None


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
