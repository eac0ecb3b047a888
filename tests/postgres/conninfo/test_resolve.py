"""A conninfo is taken as psql takes it, and nothing in it is dropped that makes a connection safer."""

import os
import pwd
from pathlib import Path

import msgspec
import pytest

from pgtop.errors import UsageError
from pgtop.postgres.conninfo.passfile import stored_password
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.conninfo.target import Target

NOTHING: dict[str, str] = {}
SECRET = "s3cr3t-Zw9"  # noqa: S105 (it opens nothing)


def resolved(conninfo: str | None = None, environ: dict[str, str] = NOTHING, **flags: str) -> Target:
    return resolve(conninfo, flags, environ)


def complaint(conninfo: str | None = None, environ: dict[str, str] = NOTHING, **flags: str) -> str:
    with pytest.raises(UsageError) as caught:
        resolve(conninfo, flags, environ)
    assert caught.value.mend
    return str(caught.value)


@pytest.mark.parametrize(
    ("conninfo", "hosts", "ports", "user", "database"),
    [
        ("postgresql://app@db1:5433/shop", ("db1",), (5433,), "app", "shop"),
        ("postgres://app:x@db1/shop", ("db1",), (5432,), "app", "shop"),
        ("postgresql://db1:1,db2:2,[::1]:3/s?user=u", ("db1", "db2", "::1"), (1, 2, 3), "u", "s"),
        ("postgresql://db1,db2:2/s?user=u", ("db1", "db2"), (5432, 2), "u", "s"),
        ("postgresql://%2Fvar%2Frun/s?user=u&port=7", ("/var/run",), (7,), "u", "s"),
        ("postgresql:///s?host=/run/pg&user=u", ("/run/pg",), (5432,), "u", "s"),
        ("postgresql://a%40b:x@h/d%2Fb", ("h",), (5432,), "a@b", "d/b"),
        ("host=h1,h2 port=9 user=u dbname = 'my shop'", ("h1", "h2"), (9, 9), "u", "my shop"),
        (r"host=h user='it\'s' dbname=a\ b", ("h",), (5432,), "it's", "a b"),
        ("hostaddr=10.0.0.1,10.0.0.2 user=u", ("", ""), (5432, 5432), "u", "u"),
    ],
)
def test_a_conninfo_says_where_and_as_whom(
    conninfo: str, hosts: tuple[str, ...], ports: tuple[int, ...], user: str, database: str
) -> None:
    target = resolved(conninfo)
    assert (target.hosts, target.ports, target.user, target.database) == (hosts, ports, user, database)


def test_a_bare_word_is_the_database_which_defaults_to_the_user() -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert resolved("shop").database == "shop"
    assert (resolved().user, resolved().database) == (me, me)
    assert resolved(user="app").database == "app"


def test_flags_beat_conninfo_beats_service_beats_environment(tmp_path: Path) -> None:
    services = tmp_path / "services"
    services.write_text("# mine\n[other]\nport=1\n\n[web]\nhost=from-service\nport=3\nuser=from-service\n")
    environ = {
        "PGSERVICEFILE": str(services),
        "PGSERVICE": "web",
        "PGHOST": "from-environment",
        "PGPORT": "4",
        "PGUSER": "from-environment",
        "PGDATABASE": "from-environment",
    }
    assert resolved("", environ).label == "from-service:3/from-environment as from-service"
    target = resolved("host=from-conninfo port=2", environ, port="1")
    assert target.label == "from-conninfo:1/from-environment as from-service"
    assert (
        resolved("service=other", environ).label == "from-environment:1/from-environment as from-environment"
    )
    assert resolved("postgresql://?service=other", environ, service="web").ports == (3,)


def test_a_dbname_flag_may_be_a_conninfo() -> None:
    target = resolved(dbname="host=db1 dbname=shop user=u", port="7")
    assert target.label == "db1:7/shop as u"


def test_service_files_are_sought_at_home_then_in_the_system(tmp_path: Path) -> None:
    home, system = tmp_path / "home", tmp_path / "etc"
    home.mkdir()
    system.mkdir()
    (home / ".pg_service.conf").write_text("[a]\nhost=mine\n")
    (system / "pg_service.conf").write_text("[a]\nhost=system\n[b]\nhost=system\n")
    environ = {"HOME": str(home), "PGSYSCONFDIR": str(system)}
    assert resolved("service=a", environ).hosts == ("mine",)
    assert resolved("service=b", environ).hosts == ("system",)
    assert 'definition of service "c" not found' in complaint("service=c", environ)
    assert 'service file "/no/file" not found' in complaint("service=a", {"PGSERVICEFILE": "/no/file"})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("host", "line 2"),
        ("service=b", "cannot name another"),
        ("colour=red", 'invalid connection option "colour"'),
        ("ldap://x/y?z", "LDAP"),
    ],
)
def test_a_bad_line_of_a_service_file_is_named(tmp_path: Path, line: str, said: str) -> None:
    services = tmp_path / "services"
    services.write_text(f"[a]\n{line}\n")
    assert said in complaint("service=a", {"PGSERVICEFILE": str(services)})


def test_without_a_host_an_existing_socket_is_used_else_localhost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "run", tmp_path / "tmp"
    second.mkdir()
    (second / ".s.PGSQL.6543").touch()
    monkeypatch.setattr("pgtop.postgres.conninfo.resolve.SOCKET_DIRECTORIES", (str(first), str(second)))
    assert resolved(port="6543").hosts == (str(second),)
    assert resolved(port="6544").hosts == ("localhost",)
    assert resolved("host=''", {"PGHOST": "db1"}, port="6544").hosts == ("localhost",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user's")
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_without_a_host_no_strangers_shared_socket_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """In /tmp anybody may listen where a server could, and would be sent the password."""
    socket = tmp_path / ".s.PGSQL.6543"
    monkeypatch.setattr("pgtop.postgres.conninfo.resolve.SOCKET_DIRECTORIES", (str(tmp_path),))
    tmp_path.chmod(mode)
    users = {account.pw_name: account.pw_uid for account in pwd.getpwall()}
    for uid, is_used in ((64_321, mode == 0o755), (0, True), (users.get("postgres", 0), True)):
        socket.touch()
        os.chown(socket, uid, -1)
        assert resolved(port="6543").hosts == ((str(tmp_path),) if is_used else ("localhost",))
        socket.unlink()
        socket.symlink_to("/dev/null")
        os.chown(socket, uid, -1, follow_symlinks=False)
        assert resolved(port="6543").hosts == ((str(tmp_path),) if is_used else ("localhost",))
        socket.unlink()
    assert resolved(f"host={tmp_path}", port="6543").hosts == (str(tmp_path),)


def test_parameters_for_the_server_are_honoured_or_ignored() -> None:
    target = resolved(
        "postgresql://u@a,b/d?connect_timeout=3&keepalives=0&keepalives_idle=7&tcp_user_timeout=900"
        "&application_name=x&fallback_application_name=x&client_encoding=latin1&gssencmode=prefer"
        "&sslsni=0&channel_binding=prefer&load_balance_hosts=random&options=-c%20geqo%3Doff%20--work-mem%3D1MB"
        "&target_session_attrs=primary"
    )
    # libpq's is for each address of each host.
    assert (target.connect_timeout_seconds, target.address_timeout_seconds) == (6, 3)
    assert target.socket_options.keepalives is False
    assert target.socket_options.keepalives_idle_seconds == 7
    assert target.socket_options.tcp_user_timeout_ms == 900
    assert dict(target.server_settings) == {"geqo": "off", "work_mem": "1MB"}
    assert target.target_session_attrs == "primary"


def test_pgappname_is_not_taken_and_pgoptions_is() -> None:
    options = r"-capplication_name=x -c search_path=a\ b"
    target = resolved("", {"PGAPPNAME": "x", "PGOPTIONS": options, "PGCONNECT_TIMEOUT": "0"})
    assert dict(target.server_settings) == {"search_path": "a b"}
    assert target.connect_timeout_seconds == resolved().connect_timeout_seconds


def test_localhost_in_the_password_file_is_the_default_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no host is named, a socket is used if there is one, and its line is not the directory's."""
    monkeypatch.setattr("pgtop.postgres.conninfo.resolve.SOCKET_DIRECTORIES", (str(tmp_path),))
    (tmp_path / ".s.PGSQL.5432").touch()
    passfile = tmp_path / "passwords"
    passfile.write_text(f"{tmp_path}:*:*:*:directory\nlocalhost:*:*:*:default\n")
    passfile.chmod(0o600)
    target = resolved("", {"PGPASSFILE": str(passfile)})
    assert target.hosts == (str(tmp_path),)
    assert stored_password(target, target.endpoints[0]) == "default"
    named = resolved("host=localhost", {"PGPASSFILE": str(passfile)})
    assert stored_password(named, named.endpoints[0]) == "default"


@pytest.mark.parametrize(
    "asked",
    [
        "channel_binding=require",
        "gssencmode=require",
        "sslcertmode=require",
        "min_protocol_version=3.2",
        "replication=database",
        "oauth_issuer=https://x",
        "hostaddr=10.0.0.1 sslmode=verify-full",
        "sslmode=require sslrootcert=system",
        "sslnegotiation=direct",
    ],
)
def test_a_figure_out_of_bounds_is_refused(asked: str) -> None:
    assert asked.split("=")[0] in complaint(asked)


def test_a_variable_out_of_bounds_is_refused() -> None:
    assert "PGCHANNELBINDING" in complaint("", {"PGCHANNELBINDING": "require"})


@pytest.mark.parametrize(
    ("conninfo", "said"),
    [
        ("colour=red", 'invalid connection option "colour"'),
        ("postgresql://h/d?colour=red", 'invalid connection option "colour"'),
        ("host=a port=x", 'invalid port number "x"'),
        ("host=a port=65536", 'invalid port number "65536"'),
        ("host=a port=0", 'invalid port number "0"'),
        ("host=a,b port=1,2,3", "3 ports do not match 2 hosts"),
        ("host=a,b hostaddr=10.0.0.1", "1 addresses (hostaddr) do not match 2 hosts"),
        ("hostaddr=db1", 'hostaddr "db1" is not an IP address'),
        ("host=a connect_timeout=soon", 'connect_timeout "soon"'),
        ("sslmode=on", 'invalid sslmode value "on"'),
        ("target_session_attrs=best", 'invalid target_session_attrs value "best"'),
        ("host=a user", 'missing "="'),
        ("host='a", "unterminated"),
        ("postgresql://[::1/d", "lacks its ]"),
        ("postgresql://h/d%2", "two hex digits"),
        ("postgresql://h/d?a", 'missing "="'),
        ("options=-B1 host=a", '"-B1"'),
        ("user=a\0b", "null character"),
        ("user=\udcff", "UTF-8"),
        ("require_auth=kerberos", 'invalid require_auth value "kerberos"'),
        ("require_auth=md5,md5", "list each method once"),
        ("require_auth=md5,!none", "mixes methods"),
        ("channel_binding=require", "write channel_binding=prefer"),
    ],
)
def test_a_conninfo_that_cannot_be_understood_names_what_is_wrong(conninfo: str, said: str) -> None:
    assert said in complaint(conninfo)


@pytest.mark.parametrize(
    "conninfo",
    [
        f"postgresql://u:x/{SECRET}@h/d",
        f"postgresql://u:{SECRET}/x@h/d",
        f"postgresql://u:x@{SECRET}@h/d",
        f"postgresql://u:x@y/{SECRET}@h/d",
        f"postgresql://u:{SECRET}/w?foo@h/d",
        f"password=my {SECRET} host=h",
        f"password=my {SECRET}=x host=h",
        f"password='{SECRET} host=h",
        f"password={SECRET} colour=red",
        f"password={SECRET} port=x",
        f"postgresql://u:{SECRET}@h:x/d",
        f"postgresql://u:{SECRET}@h/d?colour=red",
        f"scram_client_key={SECRET}",
    ],
)
def test_no_message_holds_a_password_that_was_badly_quoted(conninfo: str) -> None:
    assert SECRET not in complaint(conninfo)


def test_the_password_is_in_no_repr_and_no_label() -> None:
    target = resolved(f"postgresql://u:{SECRET}@h/d?sslpassword={SECRET}")
    assert target.password == target.tls.sslpassword == SECRET
    shown = f"{target!r} {target} {target.label} {target.tls!r} {list(target.__rich_repr__())}"
    assert SECRET not in shown
    assert "***" in shown
    assert SECRET not in repr(msgspec.structs.replace(target, password=SECRET))


def test_a_label_is_safe_to_print() -> None:
    target = resolved("", host="a\x1b[2J", user="u\u202e", dbname="d\x07")
    assert target.label.isprintable()


_NO_LINE_END = "a\x0b\x0c\x1c\x85\u2028b"
"""Python ends a line at each of these, and libpq at none."""


def test_only_a_line_feed_ends_a_line_of_either_file(tmp_path: Path) -> None:
    passfile, services = tmp_path / "passwords", tmp_path / "services"
    passfile.write_bytes(f"db1:*:*:*:{_NO_LINE_END}\r\n".encode())
    passfile.chmod(0o600)
    services.write_bytes(f"[a]\r\nhost=db1\r\nuser={_NO_LINE_END}\r\n".encode())
    target = resolved("service=a", {"PGPASSFILE": str(passfile), "PGSERVICEFILE": str(services)})
    assert target.user == _NO_LINE_END
    assert stored_password(target, target.endpoints[0]) == _NO_LINE_END


PASSWORDS = """\
# a comment:*:*:*:no
db1:5432:shop:app:first
db1:*:*:app:any\\:port\\\\
localhost:*:*:app:local
/srv/socket:*:*:app:elsewhere
/tmp:*:*:app:tmp
*:*:*:*:last
"""


def test_the_password_file_is_read_by_libpqs_rules(tmp_path: Path) -> None:
    passfile = tmp_path / "passwords"
    passfile.write_text(PASSWORDS)
    passfile.chmod(0o600)

    def stored(conninfo: str) -> str | None:
        target = resolved(conninfo, {"PGPASSFILE": str(passfile)})
        return stored_password(target, target.endpoints[-1])

    assert stored("host=db1 user=app dbname=shop") == "first"
    assert stored("host=db1 port=7 user=app dbname=shop") == "any:port\\"
    assert stored("host=/var/run/postgresql user=app") == "local"
    assert stored("host=/run/postgresql user=app") == "last"
    assert stored("host=/tmp user=app") == "tmp"
    assert stored("host=/srv/socket user=app") == "elsewhere"
    assert stored("host=/home/mallory user=app") == "last"
    assert stored("host=other,db1 user=app dbname=shop") == "first"
    assert stored("host=other hostaddr=10.0.0.1 user=x") == "last"
    passfile.chmod(0o640)
    assert stored("host=db1 user=app dbname=shop") is None
