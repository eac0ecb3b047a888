"""The doctor's judgement: each finding's ok, warn and bad, and the two verdicts, from facts alone."""

from itertools import count
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from pgtop.core.activity import Backend, Limits, Privileges, Server, ServerIdentity, Snapshot
from pgtop.core.doctor.checkup import Account, Checkup, Database, Membership, Override, Right, Role, Setting
from pgtop.core.doctor.findings import LOOK_WHO, Finding, look_who
from pgtop.core.doctor.remedies import Identifier
from pgtop.core.doctor.slots import slots_finding
from pgtop.core.doctor.verdicts import Diagnosis, diagnose
from pgtop.core.stalled_logins import STALL_HELP

YES, NO, MEMBER = Membership(True, True), Membership(False, False), Membership(False, True)
OPS, SHOP = Identifier("ops", "ops"), Identifier("shop", "shop")
HOUR_MS, MINUTE = 3_600_000, 60
ROOMY = Limits(100, 3, 2)
PIDS = count(2)
RESERVE = "ALTER SYSTEM SET reserved_connections = 3;  -- needs a restart"


def setting(name: str, value: int, unit: str = "ms", source: str = "configuration file") -> Setting:
    return Setting(name, value, value, unit, source)


WELL_SET = (
    setting("idle_session_timeout", HOUR_MS),
    setting("idle_in_transaction_session_timeout", HOUR_MS),
    setting("tcp_keepalives_idle", 60, "s"),
    setting("tcp_keepalives_interval", 10, "s"),
    setting("tcp_keepalives_count", 6, ""),
    setting("client_connection_check_interval", 10_000),
    setting("authentication_timeout", MINUTE, "s", "default"),
    setting("superuser_reserved_connections", 3, "", "default"),
    setting("reserved_connections", 2, "", "configuration file"),
)


def account(**changes: Any) -> Account:
    """A role with all that it needs, on a server that is set well."""
    well = Account(
        login=OPS,
        acting=OPS,
        database=SHOP,
        is_superuser=False,
        acts_as_superuser=False,
        login_inherits=True,
        acting_inherits=True,
        login_limit=-1,
        database_limit=-1,
        reserved=YES,
        provider=None,
        is_managed=False,
        sight=YES,
        signal=YES,
        over_socket=False,
        settings=WELL_SET,
        limited_roles=0,
        roles=(Role(OPS, -1, False, True),),
        limited_databases=0,
        databases=(),
        overrides=(),
        overrides_in_all=0,
    )
    return msgspec.structs.replace(well, **changes)


def backend(user: str = "ops", **changes: Any) -> Backend:
    state = changes.pop("state", "idle")
    start = None if state is None else 1
    changes.setdefault("pid", next(PIDS))
    fields: dict[str, Any] = {"application_name": "web", "datname": "shop", "client_addr": "10.0.0.1"}
    fields |= {"is_superuser": False, **changes}
    return Backend(
        backend_start=start,
        state_change=start,
        xact_start=None,
        query_start=start,
        state=state,
        usename=user,
        client_port=1,
        wait_event_type=None,
        wait_event=None,
        query="",
        **fields,
    )


def checkup(
    *,
    backends: tuple[Backend, ...] | None = (),
    version_num: int = 160_004,
    limits: Limits = ROOMY,
    pooled: bool = False,
    in_recovery: bool = False,
    own: frozenset[int] = frozenset(),
    **changes: Any,
) -> Checkup:
    """All is well but for what is named; `backends` stand beside the look's own, None where hidden."""
    server = Server("db1", 5432, version_num, ServerIdentity(None, 0, in_recovery), limits)
    looking = backend(application_name="pgtop doctor@jump", pid=1)
    snapshot = None
    if backends is not None:
        snapshot = Snapshot(server, Privileges("ops", False, True), 1, 0.0, 1, (looking, *backends))
    facts: dict[str, Any] = {"account": account(**changes), "snapshot": snapshot, "pooled": pooled}
    return Checkup(server=server, own=own, **facts)


def judged(**facts: Any) -> Diagnosis:
    return diagnose(checkup(**facts), 0.8)


def finding(topic: str, **facts: Any) -> Finding:
    """The one finding of a topic; each topic occurs once, whatever the facts."""
    (found,) = [each for each in judged(**facts).findings if each.topic == topic]
    return found


def changed(name: str, value: int, **more: Any) -> dict[str, Any]:
    """The settings with another value, or source, for one of them."""
    settings = tuple(
        msgspec.structs.replace(each, value=value, effective=more.pop("effective", value), **more)
        if each.name == name
        else each
        for each in WELL_SET
    )
    return {"settings": settings}


def test_a_well_set_server_needs_no_remedy() -> None:
    diagnosis = judged()
    assert diagnosis.is_well
    assert {each.status for each in diagnosis.findings} == {"ok"}
    assert [each.mend for each in diagnosis.findings if each.mend] == []
    assert len({each.topic for each in diagnosis.findings}) == len(diagnosis.findings) == 21


PLAIN_14: dict[str, Any] = {"reserved": None, "version_num": 140_010, "limits": Limits(100, 3)}


@pytest.mark.parametrize(
    ("facts", "yes", "said", "mend"),
    [
        ({}, True, "2 slots reserved for pg_use_reserved_connections", ""),
        ({"limits": Limits(100, 0, 2)}, True, "2 slots reserved", ""),
        ({"is_superuser": True, "limits": Limits(100, 3)}, True, "3 slots reserved for superusers", ""),
        ({"is_superuser": True, "limits": Limits(100, 0, 2)}, True, "2 slots reserved for superusers", ""),
        (
            {"is_superuser": True, "limits": Limits(100, 0)},
            False,
            "no slot is reserved for superusers",
            "ALTER SYSTEM SET superuser_reserved_connections = 3;  -- needs a restart",
        ),
        ({**PLAIN_14, "is_superuser": True}, True, "3 slots reserved for superusers", ""),
        (PLAIN_14, False, "before PostgreSQL 16", None),
        (
            {"reserved": NO},
            False,
            "does not have the privileges of pg_use_reserved_connections",
            "GRANT pg_use_reserved_connections TO ops;",
        ),
        (
            {"reserved": MEMBER},
            False,
            "does not inherit the privileges",
            "GRANT pg_use_reserved_connections TO ops WITH INHERIT TRUE;",
        ),
        (
            {"reserved": NO, "login_inherits": False},
            False,
            "does not have",
            "GRANT pg_use_reserved_connections TO ops WITH INHERIT TRUE;",
        ),
        (
            {"limits": Limits(100, 3)},
            False,
            "reserved_connections is 0",
            RESERVE,
        ),
        (
            {"limits": Limits(100, 3), **changed("reserved_connections", 0, source="command line")},
            False,
            "reserved_connections is 0",
            "-- reserved_connections = 3 on the server's command line, where it is set, and restart",
        ),
        (
            {"limits": Limits(100, 3), "is_managed": True},
            False,
            "reserved_connections is 0",
            "-- reserved_connections = 3 in the service's parameters, and restart",
        ),
        (
            {"reserved": NO, "limits": Limits(100, 3)},
            False,
            "and reserved_connections is 0",
            f"GRANT pg_use_reserved_connections TO ops;\n{RESERVE}",
        ),
        (
            {"reserved": NO, "in_recovery": True},
            False,
            "does not have",
            "-- on the primary\nGRANT pg_use_reserved_connections TO ops;",
        ),
        ({"reserved": NO, "provider": YES, "limits": Limits(100, 3, 0, 2)}, True, "rds_superuser", ""),
        ({"reserved": NO, "provider": YES, "limits": Limits(100, 3)}, False, "does not have", None),
        ({"reserved": NO, "provider": MEMBER, "limits": Limits(100, 3, 0, 2)}, False, "does not have", None),
    ],
)  # fmt: skip
def test_the_roles_that_get_in_when_no_ordinary_slot_is_left(
    facts: dict[str, Any], yes: bool, said: str, mend: str | None
) -> None:
    diagnosis, login = judged(**facts), finding("login", **facts)
    assert (diagnosis.gets_in_at_full.yes, login.status) == (yes, "ok" if yes else "bad")
    assert diagnosis.gets_in_at_full.why.startswith(login.said)
    assert said in login.said
    if mend is not None:
        assert login.mend == mend


@pytest.mark.parametrize(("superuser", "room"), [(False, 97), (True, 100)])
def test_the_last_kept_slot_is_told(superuser: bool, room: int) -> None:
    """An ordinary role has no use for those kept for superusers; an upper bound proves nothing."""
    crowd = tuple(backend("app") for _ in range(room - 1))
    found = finding("login", backends=crowd, is_superuser=superuser)
    assert (found.status, "this check has the last one" in found.said) == ("warn", True)
    assert judged(backends=crowd, is_superuser=superuser).gets_in_at_full.yes
    assert finding("login", backends=crowd[1:], is_superuser=superuser).status == "ok"
    hidden = (backend(state=None), *crowd)
    assert finding("login", backends=hidden, is_superuser=superuser).status == "ok"


def test_login_is_judged_by_the_login_role_reaping_by_the_acting_one() -> None:
    boss = Identifier("boss", "boss")
    assert "role ops" in finding("login", acting=boss, acts_as_superuser=True, reserved=NO).said
    assert finding("signal", acting=boss, signal=NO).mend == "GRANT pg_signal_backend TO boss;"
    assert finding("sight", acting=boss, sight=NO).mend == "GRANT pg_monitor TO boss;"
    assert not judged(acting=boss, acts_as_superuser=True, reserved=NO).gets_in_at_full.yes
    assert judged(acting=boss, acts_as_superuser=True, reserved=NO).may_reap.yes


def test_through_a_pooler_neither_is_promised() -> None:
    diagnosis = judged(pooled=True, is_superuser=True)
    assert not diagnosis.gets_in_at_full.yes
    assert not diagnosis.may_reap.yes
    found = finding("pooler", pooled=True)
    assert found.status == "bad"
    assert found.mend.startswith("-- connect to the server itself")


@pytest.mark.parametrize(
    ("facts", "topic", "mend"),
    [
        ({"sight": NO}, "sight", "GRANT pg_monitor TO ops;"),
        ({"sight": MEMBER}, "sight", "GRANT pg_monitor TO ops WITH INHERIT TRUE;"),
        ({"signal": NO}, "signal", "GRANT pg_signal_backend TO ops;"),
        (
            {"signal": MEMBER, "acting_inherits": False, **PLAIN_14},
            "signal",
            "ALTER ROLE ops INHERIT;\nGRANT pg_signal_backend TO ops;",
        ),
        (
            {"missing": (Right("EXECUTE", "FUNCTION f(int)", True), Right("SELECT", "v", True))},
            "rights",
            "GRANT EXECUTE ON FUNCTION f(int) TO ops;\nGRANT SELECT ON v TO ops;",
        ),
    ],
)
def test_roles_that_may_not_reap(facts: dict[str, Any], topic: str, mend: str) -> None:
    assert not judged(**facts).may_reap.yes
    found = finding(topic, **facts)
    assert (found.status, found.mend) == ("bad", mend)


def test_a_role_that_sees_no_session_gets_findings_without_counts() -> None:
    missing = (Right("EXECUTE", "FUNCTION f()", True),)
    hidden = judged(backends=None, login_limit=5, database_limit=5, missing=missing)
    assert not hidden.may_reap.yes
    said = {each.topic: each for each in hidden.findings}
    for topic in ("slots", "privileged", "role", "database", "role_limits", "application_name"):
        assert said[topic].status == "warn", topic
        assert "hidden" in said[topic].said, topic


@pytest.mark.parametrize(
    ("used", "limit", "superuser", "status"),
    [
        (3, 5, False, "ok"),
        (4, 5, False, "ok"),
        (5, 5, False, "warn"),
        (6, 5, False, "bad"),
        (6, 5, True, "ok"),
    ],
)
@pytest.mark.parametrize("topic", ["role", "database"])
def test_a_connection_limit_of_ones_own(
    topic: str, used: int, limit: int, superuser: bool, status: str
) -> None:
    """Used counts this look's own session, which has gone when the next login comes."""
    key = "login_limit" if topic == "role" else "database_limit"
    facts = {
        "backends": tuple(backend(state="active") for _ in range(used - 1)),
        "limits": Limits(7, 1, 2),  # no more slots than the limit: the server's own end comes first
        "is_superuser": superuser,
        key: limit,
    }
    found = finding(topic, **facts)
    assert found.status == status
    assert f"{used} of {limit} used" in found.said
    assert judged(**facts).gets_in_at_full.yes is (status != "bad")
    if status in ("warn", "bad"):
        name = "ROLE ops" if topic == "role" else "DATABASE shop"
        held = f"-- {topic} {name.split()[1]} is held by web {used - 1}, pgtop doctor@jump 1 (1 idle)"
        room = "-- do not raise the limit: the server has no room for more under its line"
        assert found.mend.splitlines() == [held, room]
        roomy = finding(topic, **{**facts, "limits": ROOMY}).mend
        assert roomy.splitlines() == [held, f"ALTER {name} CONNECTION LIMIT 8;"]


def test_a_database_that_may_be_full_before_the_server_is_a_condition() -> None:
    facts = {"database_limit": 20, "backends": (backend(),)}
    found = finding("database", **facts)
    assert found.status == "warn"
    verdict = judged(**facts).gets_in_at_full
    assert verdict.yes
    assert f"but {found.said}" in verdict.why
    assert finding("database", **facts, is_superuser=True).status == "ok"


def test_an_upper_bound_refuses_nobody() -> None:
    hidden = tuple(backend(state=None) for _ in range(5))
    found = finding("database", database_limit=3, backends=hidden)
    assert (found.status, "≤ 6 of 3 used (CONNECTION LIMIT): perhaps all" in found.said) == ("warn", True)
    assert judged(database_limit=3, backends=hidden).gets_in_at_full.yes
    elsewhere = tuple(backend("app", state=None, datname="other") for _ in range(5))
    assert "role ops: 1 of 3 used" in finding("role", login_limit=3, backends=elsewhere).said
    assert "shop: 1 of 3 used" in finding("database", database_limit=3, backends=elsewhere).said
    assert finding("slots", backends=hidden * 30).status == "warn"


@pytest.mark.parametrize(
    ("total", "status", "said"),
    [(10, "ok", "10 of 95 slots in use (10%)"), (76, "warn", "76 of 95"), (95, "bad", "95 of 95 slots in"),
     (97, "bad", "5 more of 100 connections reserved, and 2 of those in use")],
)  # fmt: skip
def test_the_servers_slots(total: int, status: str, said: str) -> None:
    found = finding("slots", backends=tuple(backend("app") for _ in range(total - 1)))
    assert found.status == status
    assert said in found.said
    assert bool(found.mend) is (status != "ok")


def test_unlisted_clients_take_slots_too() -> None:
    """A server of 95 slots, and 3 more for superusers: 10 sessions, and clients that are still connecting."""
    few = checkup(backends=tuple(backend("app") for _ in range(9)))
    assert few.snapshot is not None
    for unlisted, status, said in ((7, "ok", "17 of 95"), (85, "bad", "95 of 95 slots in use (100%)")):
        found = slots_finding(replace(few, snapshot=replace(few.snapshot, unlisted=unlisted)), 0.8)
        assert found.status == status
        assert said in found.said
        assert f"{unlisted} slots are held by clients still connecting" in found.said
        assert (STALL_HELP in found.mend) == (status == "bad")
    crowd = checkup(backends=tuple(backend("app") for _ in range(90))).snapshot
    assert crowd is not None
    assert LOOK_WHO in slots_finding(replace(few, snapshot=replace(crowd, unlisted=4)), 0.8).mend


def test_the_line_is_the_one_that_is_set() -> None:
    crowd = tuple(backend("app") for _ in range(60))
    role = Role(Identifier("app", "app"), 100, False, False)
    low, high = (diagnose(checkup(backends=crowd, roles=(role,)), warn_at) for warn_at in (0.5, 0.8))
    for diagnosis, status in ((low, "warn"), (high, "ok")):
        found = {each.topic: each.status for each in diagnosis.findings}
        assert (found["slots"], found["role_limits"]) == (status, status)


@pytest.mark.parametrize(
    ("limits", "status"),
    [(Limits(100, 3), "ok"), (Limits(100, 0, 2), "warn"), (Limits(100, 0), "bad")],
)
def test_slots_kept_for_superusers(limits: Limits, status: str) -> None:
    found = finding("superuser_reserved_connections", limits=limits)
    assert found.status == status
    assert found.mend.startswith("ALTER SYSTEM SET superuser_reserved_connections = 3;") is (status != "ok")


def test_others_that_may_take_the_kept_slots() -> None:
    """Superusers and other roles with the privileges, when there are more of them than slots; no pgtop."""
    few = tuple(backend("postgres", is_superuser=True) for _ in range(5))
    assert finding("privileged", backends=few).status == "ok"
    assert finding("privileged").said == "no session but pgtop's can take reserved connections"
    named = tuple(backend("postgres", is_superuser=True, application_name="pgtop daemon@a") for _ in range(9))
    own = frozenset(each.pid for each in named)
    assert finding("privileged", backends=named, own=own).said == finding("privileged").said
    assert finding("privileged", backends=named).said.startswith("9 sessions of superusers")
    many = judged(
        backends=(*few, backend("batch")), roles=(Role(Identifier("batch", "batch"), -1, False, True),)
    )
    (found,) = [each for each in many.findings if each.topic == "privileged"]
    assert found.status == "warn"
    assert found.said.startswith(
        "5 sessions of superusers (which only superusers may terminate) and 1 session of"
    )
    assert many.gets_in_at_full.yes
    assert found.said in many.gets_in_at_full.why


@pytest.mark.parametrize(
    ("name", "topic", "mend"),
    [
        (
            "idle_in_transaction_session_timeout",
            "idle_in_transaction_session_timeout",
            "idle_in_transaction_session_timeout = '10min'",
        ),
        (
            "client_connection_check_interval",
            "client_connection_check_interval",
            "client_connection_check_interval = '10s'",
        ),
    ],
)
def test_a_timeout_that_is_off(name: str, topic: str, mend: str) -> None:
    assert finding(topic).status == "ok"
    off = finding(topic, **changed(name, 0))
    assert off.status == "warn"
    assert off.mend == f"ALTER SYSTEM SET {mend};\nSELECT pg_reload_conf();"
    of_database = finding(topic, **changed(name, 0, source="database"))
    assert of_database.mend == f"ALTER DATABASE shop SET {mend};"
    of_all = finding(topic, **changed(name, 0, source="global"))
    assert of_all.mend == f"ALTER ROLE ALL SET {mend};"
    on_command_line = finding(topic, **changed(name, 0, source="command line"))
    assert on_command_line.mend == f"-- {mend} on the server's command line, where it is set, and restart"
    for source in ("user", "database user", "client"):
        own = finding(topic, **changed(name, 5000, source=source))
        assert (own.status, "is hidden" in own.said) == ("warn", True)
        assert own.mend.startswith("-- check again as a role")
    assert finding(topic, settings=()).status == "warn"


def test_idle_sessions_that_stay_for_ever() -> None:
    """Mended role by role, so that it ends no backup's session; for the server where no role is seen.

    A role is seen whatever its sessions call themselves, and whether they end is asked of whoever knows.
    """
    topic = "idle_session_timeout"
    assert finding(topic).status == "ok"
    off = changed(topic, 0)
    nobody = finding(topic, **off)
    assert nobody.status == "warn"
    assert nobody.mend.splitlines()[1:] == [
        "ALTER SYSTEM SET idle_session_timeout = '1h';",
        "SELECT pg_reload_conf();",
    ]
    roles = (
        Role(Identifier("app", "app"), -1, False, False, "0s"),
        Role(Identifier("web", "web"), -1, False, False, "10min"),
        Role(Identifier("backup", "backup"), -1, False, False),
        Role(Identifier("boss", "boss"), -1, True, False),
    )
    sessions = (backend("boss", is_superuser=True), backend("backup", application_name="pgBackRest [backup]"))
    some = finding(topic, roles=roles, backends=(*sessions, backend("app"), backend("web")), **off)
    named = (
        "-- unless its sessions are a backup's, as they call themselves: "
        "ALTER ROLE backup SET idle_session_timeout = '1h';"
    )
    assert some.mend.splitlines() == [named, "ALTER ROLE app SET idle_session_timeout = '1h';"]
    assert some.status == "warn"
    assert some.said.startswith("off: idle sessions of backup, app stay forever")
    alone = finding(topic, roles=roles, backends=(*sessions, backend("web")), **off)
    assert (alone.status, alone.mend) == ("warn", named)
    all_set = finding(topic, roles=roles, backends=(sessions[0], backend("web")), **off)
    assert (all_set.status, all_set.mend) == ("ok", "")
    other = (backend("backup"), *sessions)
    mixed = finding(topic, roles=roles, backends=other, **off)
    assert mixed.mend == "ALTER ROLE backup SET idle_session_timeout = '1h';"
    pgtop = backend("app", application_name="pgtop daemon@a")
    facts: dict[str, Any] = {"roles": roles, "backends": (pgtop, backend("web")), **off}
    assert finding(topic, own=frozenset({pgtop.pid}), **facts).status == "ok"
    assert finding(topic, **facts).said.startswith("off: idle sessions of app stay forever")
    for source in ("user", "database user", "client"):
        facts = {"roles": roles, **changed(topic, 5000, source=source)}
        own = finding(topic, backends=(backend("app"),), **facts)
        assert (own.status, "is hidden" in own.said) == ("warn", True)
        assert finding(topic, backends=(backend("web"),), **facts).status == "ok"


def test_the_time_a_dead_client_holds_its_slot() -> None:
    assert finding("tcp_keepalives").said.endswith("for 2m")
    left = changed("tcp_keepalives_idle", 0, effective=7200)
    found = finding("tcp_keepalives", **left)
    assert (found.status, found.said) == ("warn", "a client whose machine is lost holds its slot for 2h 01m")
    assert found.mend.splitlines() == [
        "ALTER SYSTEM SET tcp_keepalives_idle = 60;",
        "ALTER SYSTEM SET tcp_keepalives_interval = 10;",
        "ALTER SYSTEM SET tcp_keepalives_count = 6;",
        "SELECT pg_reload_conf();",
    ]
    over_socket = finding("tcp_keepalives", over_socket=True, **left)
    assert "2h 11m on Linux" in over_socket.said
    assert finding("tcp_keepalives", over_socket=True).status == "ok"
    assert finding("tcp_keepalives", **changed("tcp_keepalives_idle", 60, source="user")).status == "warn"
    assert finding("tcp_keepalives", settings=()).status == "warn"


def test_a_login_that_goes_silent() -> None:
    assert finding("authentication_timeout").status == "ok"
    found = finding("authentication_timeout", **changed("authentication_timeout", 61))
    assert (found.status, found.mend.splitlines()[0]) == (
        "warn",
        "ALTER SYSTEM SET authentication_timeout = '1min';",
    )


def test_roles_near_their_limit() -> None:
    """From 80% on, the nearest first; a role without sessions or a superuser is none."""
    roles = tuple(
        Role(Identifier(name, name), limit, name == "boss", False)
        for name, limit in (("app", 5), ("web", 10), ("boss", 1), ("free", -1), ("ops", 1))
    )
    busy = [backend("app", state="active") for _ in range(3)]
    sessions = (*busy, backend("app"), backend("web"), backend("boss"), backend("free"))
    found = finding("role_limits", roles=roles, backends=sessions)
    assert found.status == "warn"
    assert found.said == "CONNECTION LIMITs nearly used up: app 4 of 5, web 1 of 10"
    assert found.mend.splitlines() == [
        "-- role app is held by web 4 (1 idle)",
        "ALTER ROLE app CONNECTION LIMIT 8;",
    ]
    assert finding("role_limits", roles=roles, backends=sessions[3:]).status == "ok"
    assert (
        finding("role_limits", limited_roles=3).said
        == "3 other roles with a CONNECTION LIMIT, without sessions"
    )
    many = tuple(Role(Identifier(f"r{n}", f"r{n}"), 1, False, False) for n in range(900))
    crowd = finding("role_limits", roles=many, backends=tuple(backend(f"r{n}") for n in range(900)))
    assert crowd.said.endswith("and 895 more")
    assert [line for line in crowd.mend.splitlines() if "is held by" in line] == [
        f"-- role r{n} is held by web 1 (1 idle)" for n in range(5)
    ]


def test_settings_that_roles_and_databases_have_of_their_own() -> None:
    few = (
        Override("app", None, "statement_timeout=30s"),
        Override(None, "shop", "x=\x1b[2J"),
        Override(None, None, "y=1"),
    )
    found = finding("own_settings", overrides=few, overrides_in_all=9)
    assert found.status == "ok"
    assert found.said == (
        "role app: statement_timeout=30s, database shop: x=·[2J, all roles: y=1, and 6 more"
    )


def test_sessions_without_a_name() -> None:
    app = Role(Identifier("it's", '"it\'s"'), -1, False, False)
    unnamed = (backend("it's", application_name=""), backend("it's", application_name=None, client_addr=None))
    found = finding("application_name", roles=(app,), backends=(*unnamed, unnamed[0]))
    assert found.status == "warn"
    assert found.said == (
        "3 sessions without an application name: 2 of it's in shop from 10.0.0.1, 1 of it's in shop"
    )
    assert found.mend.splitlines() == [
        "-- better: application_name=… in each application's own conninfo",
        "ALTER ROLE \"it's\" SET application_name = 'it''s';",
    ]


@pytest.mark.parametrize(
    ("identifier", "written"),
    [
        (Identifier("Ops Team", '"Ops Team"'), '"Ops Team"'),
        (Identifier('a"b', '"a""b"'), '"a""b"'),
        (Identifier("a  b", '"a  b"'), 'U&"a\\0020\\0020b"'),
        (Identifier("a\n", '"a\n"'), 'U&"a\\000a"'),
        (Identifier("\U000e0001", '"\U000e0001"'), 'U&"\\+0e0001"'),
    ],
)
def test_names_are_written_so_that_they_can_be_pasted(identifier: Identifier, written: str) -> None:
    found = finding("signal", acting=identifier, signal=NO)
    assert found.mend == f"GRANT pg_signal_backend TO {written};"
    assert found.mend.isprintable()


def test_a_name_that_is_not_text_is_never_guessed() -> None:
    odd = Identifier("a\ufffd", '"a\ufffd"')
    facts: dict[str, Any] = {"login": odd, "acting": odd, "database": odd, "signal": NO, "sight": NO}
    facts |= {"reserved": NO, "missing": (Right("SELECT", "v", True),), "login_limit": 0, "database_limit": 0}
    facts |= {"backends": (backend("a\ufffd", datname="a\ufffd", application_name=""),)}
    facts |= {"roles": (Role(odd, 1, False, False),), **changed("idle_session_timeout", 0, source="database")}
    for each in judged(**facts).findings:
        assert "\ufffd" not in each.mend
        assert all(line.startswith("-- ") for line in each.mend.splitlines()) or "ALTER SYSTEM" in each.mend


def limited(kind: str, backends: tuple[Backend, ...], **facts: Any) -> list[str]:
    """The remedy for role bill, or for database billing, with a limit of 30."""
    bill, billing = Identifier("bill", "bill"), Identifier("billing", "billing")
    known: dict[str, Any] = {"roles": (Role(bill, 30 if kind == "role" else -1, False, False),)}
    if kind == "database":
        known["databases"] = (Database(billing, 30),)
    return finding(f"{kind}_limits", **known, backends=backends, **facts).mend.splitlines()


def billed(number: int, state: str | None, name: str = "bill-worker") -> tuple[Backend, ...]:
    return tuple(
        backend("bill", datname="billing", state=state, application_name=name) for _ in range(number)
    )


@pytest.mark.parametrize("kind", ["role", "database"])
def test_a_limit_that_a_leak_fills_is_not_raised(kind: str) -> None:
    """Double the limit would give the leak all that is left of the server."""
    name = {"role": "role bill", "database": "database billing"}[kind]
    assert limited(kind, billed(24, "idle") + billed(3, "active", "web")) == [
        f"-- {name} is held by bill-worker 24 (24 idle), web 3",
        "-- most are idle: find out why before the limit is raised; "
        + look_who(f"--always {'--user bill' if kind == 'role' else '--database billing'}"),
        "-- a lower limit keeps a leak from taking more: ALTER ROLE bill CONNECTION LIMIT 6;",
    ]


def test_a_limit_is_raised_to_what_fits_under_the_line() -> None:
    """95 slots, so 75 sessions are the most below 80%; the checkup's own session is one of them."""
    busy = billed(27, "active")
    held = "-- role bill is held by bill-worker 27"
    for others, raised in ((0, 33), (42, 32), (43, 31)):
        crowd = tuple(backend("app") for _ in range(others))
        altered = f"ALTER ROLE bill CONNECTION LIMIT {raised};"
        assert limited("role", busy + crowd) == [held, altered], others
        assert limited("role", busy + crowd, in_recovery=True)[1:] == ["-- on the primary", altered]
    crowd = tuple(backend("app") for _ in range(44))
    assert limited("role", busy + crowd)[1].startswith("-- do not raise the limit")
    assert limited("role", billed(27, None))[1].startswith("-- whether they are in use is hidden")
