"""From what a person gave to a `Target`: flags, conninfo, service file and environment, in falling order.

Everything is decided here, by libpq's rules, so that the driver's own rules, which differ, never count.
"""

import ipaddress
import os
import pwd
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pgtop.core.masking import holds_password
from pgtop.errors import UsageError
from pgtop.postgres.conninfo.parameters import from_environment, normalised, refuse_unkept, shown
from pgtop.postgres.conninfo.parse import is_connection_uri, parse_conninfo
from pgtop.postgres.conninfo.service import service_parameters
from pgtop.postgres.conninfo.target import (
    CONNECT_TIMEOUT_SECONDS,
    SOCKET_DIRECTORIES,
    SocketOptions,
    Target,
    Tls,
)

DEFAULT_PORT: Final = 5432
_SERVER_ACCOUNT: Final = "postgres"
_SESSION_ATTRIBUTES: Final = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TLS_VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
LOGIN_METHODS: Final = frozenset({"password", "md5", "gss", "sspi", "scram-sha-256", "none"})
"""libpq's names of the ways to log in."""
_LARGEST_INTEGER: Final = 2**31 - 1
_NO_SETTINGS: Final = frozenset({"application_name", "database", "options", "replication", "user"})
"""Of the start of a session: as a setting they would mean something else there."""


def resolve(conninfo: str | None, flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Target:
    """Everything needed to connect.

    `flags` are host, port, user, dbname (which may be a conninfo itself) and service; None is one not given.
    Flags win over the conninfo, it over the service's parameters, those over the environment, and that over
    the defaults. Raises UsageError for what cannot be understood, and for what pgtop would have to break.
    """
    home = _home(environ)
    given = {**_parsed(conninfo), **_flags(flags)}
    service = given.pop("service", None) or environ.get("PGSERVICE")
    _refuse_conninfo("service", service)
    from_service = service_parameters(service, environ, home) if service else {}
    parameters = {**from_environment(environ), **from_service, **given}
    for name in ("host", "hostaddr", "port", "user", "dbname"):
        _refuse_conninfo(name, parameters.get(name))
    is_uri = any(is_connection_uri(text) for text in (conninfo, flags.get("dbname")))
    if is_uri and re.search(r"[^0-9,\s+-]", parameters.get("port", "")):
        # Not repeated: without an @ in the URI, a password stands where the port should.
        raise UsageError("invalid port number in the connection URI", "give a number from 1 to 65535")
    refuse_unkept(parameters)
    user = parameters.get("user") or _own_name()
    seconds = _connect_timeout(parameters)
    hosts, hostaddrs, ports = _places(parameters)
    tls = _tls(parameters, home, _unnamed(hosts, hostaddrs))
    return Target(
        hosts=hosts,
        ports=ports,
        hostaddrs=hostaddrs,
        user=user,
        database=parameters.get("dbname") or user,
        password=parameters.get("password") or None,
        passfile=_passfile(parameters, home),
        default_directory=_default_directory(parameters, hosts),
        connect_timeout_seconds=(seconds or 0.0) * len(hosts) or CONNECT_TIMEOUT_SECONDS,
        address_timeout_seconds=seconds,
        socket_options=_socket_options(parameters),
        server_settings=_server_settings(parameters.get("options", "")),
        tls=tls,
        target_session_attrs=_one_of(parameters, "target_session_attrs", _SESSION_ATTRIBUTES) or "any",
        require_auth=_require_auth(parameters.get("require_auth") or ""),
        requirepeer=parameters.get("requirepeer") or None,
        krbsrvname=parameters.get("krbsrvname") or None,
        gsslib=_one_of(parameters, "gsslib", ("gssapi", "sspi")),
    )


def _refuse_conninfo(name: str, value: str | None) -> None:
    """Raise UsageError for a value that looks like a conninfo with a password, before anybody is told of it:
    a name that is looked up goes to the DNS, and a role's to the server and its log."""
    if value and holds_password(value):
        raise UsageError(
            f"{name} {shown(value)} looks like a conninfo with a password",
            "give a conninfo as the argument itself, or with -d",
        )


def _parsed(conninfo: str | None) -> dict[str, str]:
    return parse_conninfo(conninfo) if conninfo else {}


def _flags(flags: Mapping[str, str | None]) -> dict[str, str]:
    given = {name: value for name, value in flags.items() if value}  # "" is none, to psql too
    expanded = _parsed(given.pop("dbname", None))
    return {**expanded, **dict(normalised(name, value) for name, value in given.items())}


def _home(environ: Mapping[str, str]) -> Path | None:
    home = environ.get("HOME")
    if home:
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return None


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise UsageError("the operating system has no name for this user", "name the role with -U") from error


def _passfile(parameters: Mapping[str, str], home: Path | None) -> Path | None:
    asked = parameters.get("passfile")
    if asked:
        return Path(asked)
    return home / ".pgpass" if home else None


def _places(parameters: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """Hosts, addresses and ports, one of each per place to try; no addresses at all where none is given."""
    hosts = (parameters.get("host") or "").split(",")
    addresses = (parameters.get("hostaddr") or "").split(",")
    if not any(addresses):
        addresses = [""] * len(hosts)
    elif not any(hosts):
        hosts = [""] * len(addresses)
    if len(hosts) != len(addresses):
        raise UsageError(
            f"{len(addresses)} addresses (hostaddr) do not match {len(hosts)} hosts",
            "give one address per host",
        )
    ports = _ports(parameters.get("port") or "", len(hosts))
    for address in addresses:
        _check_address(address)
    names = tuple(
        host or ("" if address else _default_host(port))
        for host, address, port in zip(hosts, addresses, ports, strict=True)
    )
    return names, tuple(addresses) if any(addresses) else (), ports


def _default_directory(parameters: Mapping[str, str], hosts: Sequence[str]) -> str:
    """Return the socket directory of libpq's default host, as far as this machine tells it."""
    if not parameters.get("host") and hosts[0] in SOCKET_DIRECTORIES:
        return hosts[0]
    return SOCKET_DIRECTORIES[0]


def _check_address(address: str) -> None:
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise UsageError(
                f"hostaddr {shown(address)} is not an IP address", "names belong to host"
            ) from error


def _default_host(port: int) -> str:
    for directory in SOCKET_DIRECTORIES:
        if _is_a_servers(Path(directory), f".s.PGSQL.{port}"):
            return directory
    return "localhost"


def _is_a_servers(directory: Path, name: str) -> bool:
    """Return whether a socket is there that may be a server's.

    In /tmp anybody may listen where a server could, and be sent the password of whoever named no host.
    """
    try:
        if not directory.stat().st_mode & stat.S_IWOTH:
            return (directory / name).exists()
        return (directory / name).lstat().st_uid in _server_users()
    except OSError:
        return False


def _server_users() -> set[int]:
    """The users who are believed to run servers: root, this one, and the account made for it."""
    users = {0, os.geteuid()}
    with suppress(KeyError):
        users.add(pwd.getpwnam(_SERVER_ACCOUNT).pw_uid)
    return users


def _ports(text: str, hosts: int) -> tuple[int, ...]:
    ports = tuple(_port(part) for part in text.split(","))
    if len(ports) == 1:
        return ports * hosts
    if len(ports) != hosts:
        raise UsageError(
            f"{len(ports)} ports do not match {hosts} hosts", "give one for all, or one per host"
        )
    return ports


def _port(text: str) -> int:
    if not text.strip():
        return DEFAULT_PORT
    number = _whole(text)
    if number is None or not 1 <= number <= 65_535:
        raise UsageError(f"invalid port number {shown(text)}", "give a number from 1 to 65535")
    return number


def _whole(text: str) -> int | None:
    found = re.fullmatch(r"\s*([+-]?[0-9]{1,10})\s*", text, re.ASCII)
    number = int(found[1]) if found else None
    return number if number is not None and abs(number) <= _LARGEST_INTEGER else None


def _integer(parameters: Mapping[str, str], name: str) -> int | None:
    """The parameter's whole number; None where it is not given."""
    text = parameters.get(name)
    if not text:
        return None
    number = _whole(text)
    if number is None:
        raise UsageError(f"{name} {shown(text)} is not a whole number", f"give {name} as a whole number")
    return number


def _connect_timeout(parameters: Mapping[str, str]) -> float | None:
    """Return the time for each address; None where it is not given, or 0.

    0 is for ever to libpq: a program that shows what is wrong may not wait so long.
    """
    seconds = _integer(parameters, "connect_timeout")
    return float(seconds) if seconds is not None and seconds > 0 else None


def _socket_options(parameters: Mapping[str, str]) -> SocketOptions:
    usual = SocketOptions()

    def number(name: str, default: int) -> int:
        given = _integer(parameters, name)
        return default if given is None else max(given, 0)

    return SocketOptions(
        keepalives=number("keepalives", 1) != 0,
        keepalives_idle_seconds=number("keepalives_idle", usual.keepalives_idle_seconds),
        keepalives_interval_seconds=number("keepalives_interval", usual.keepalives_interval_seconds),
        keepalives_count=number("keepalives_count", usual.keepalives_count),
        tcp_user_timeout_ms=number("tcp_user_timeout", usual.tcp_user_timeout_ms),
    )


def _require_auth(text: str) -> frozenset[str] | None:
    """Return the allowed login methods: those that are listed, or all but those listed with a `!`.

    >>> sorted(_require_auth("!password,!md5"))
    ['gss', 'none', 'scram-sha-256', 'sspi']
    """
    if not text:
        return None
    listed = text.split(",")
    names = {each.removeprefix("!") for each in listed}
    is_negated = {each.startswith("!") for each in listed}
    if len(is_negated) > 1:
        raise UsageError(f"require_auth {shown(text)} mixes methods with and without a !", "use one kind")
    if len(names) < len(listed) or not names <= LOGIN_METHODS:
        raise UsageError(
            f"invalid require_auth value {shown(text)}",
            f"list each method once: {', '.join(sorted(LOGIN_METHODS))}",
        )
    return LOGIN_METHODS - names if True in is_negated else frozenset(names)


def _one_of(parameters: Mapping[str, str], name: str, values: tuple[str, ...]) -> str | None:
    value = parameters.get(name) or None
    if value is not None and value not in values:
        raise UsageError(f"invalid {name} value {shown(value)}", f"it is one of {', '.join(values)}")
    return value


def _unnamed(hosts: Sequence[str], addresses: Sequence[str]) -> bool:
    """Return whether an address is given for which there is no host's name."""
    return any(address and not host for host, address in zip(hosts, addresses, strict=bool(addresses)))


def _tls(parameters: Mapping[str, str], home: Path | None, is_unnamed: bool) -> Tls:
    root = parameters.get("sslrootcert") or None
    mode = _one_of(parameters, "sslmode", _SSL_MODES)
    if root == "system" and mode not in (None, "verify-full"):
        raise UsageError(f"sslmode={mode} is too weak for sslrootcert=system", "use sslmode=verify-full")
    mode = mode or ("verify-full" if root == "system" else "prefer")
    if mode == "verify-full" and is_unnamed:
        raise UsageError(
            "sslmode=verify-full needs the host's name, and hostaddr is only its address",
            "name the host as well, or use sslmode=verify-ca",
        )
    negotiation = _one_of(parameters, "sslnegotiation", ("postgres", "direct")) or "postgres"
    if negotiation == "direct" and mode in ("disable", "allow", "prefer"):
        raise UsageError(
            f"sslmode={mode} is too weak for sslnegotiation=direct", "use sslmode=require or more"
        )
    oldest, newest = (_tls_version(parameters, f"ssl_{end}_protocol_version") for end in ("min", "max"))
    if oldest and newest and oldest > newest:
        raise UsageError("ssl_min_protocol_version is newer than ssl_max_protocol_version", "swap the two")
    return Tls(
        sslmode=mode,
        sslnegotiation=negotiation,
        sslrootcert=root,
        sslcert=parameters.get("sslcert") or None,
        sslkey=parameters.get("sslkey") or None,
        sslpassword=parameters.get("sslpassword") or None,
        sslcrl=parameters.get("sslcrl") or None,
        sslcrldir=parameters.get("sslcrldir") or None,
        ssl_min_protocol_version=oldest,
        ssl_max_protocol_version=newest,
        sslcertmode=parameters.get("sslcertmode") or "allow",
        user_directory=home / ".postgresql" if home else None,
    )


def _tls_version(parameters: Mapping[str, str], name: str) -> str | None:
    spelt = {version.lower(): version for version in _TLS_VERSIONS}
    given = parameters.get(name, "").lower()
    return spelt[given] if given in spelt else _one_of(parameters, name, _TLS_VERSIONS)


_WORD: Final = re.compile(r"(?:\\.|[^\s\\])+", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def _server_settings(options: str) -> dict[str, str]:
    """The settings of `options`: `-c name=value` and `--name=value`, a backslash before a blank keeps it."""
    words = [_ESCAPED.sub(r"\1", word) for word in _WORD.findall(options)]
    settings: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            word = words.pop(0)
        elif word.startswith(("-c", "--")):
            word = word[2:]
        else:
            raise UsageError(
                f"pgtop cannot use {shown(word)} in options", "write each setting as -c name=value"
            )
        name, equals, value = word.partition("=")
        name = name.replace("-", "_")
        if not equals or not re.fullmatch(r"[A-Za-z_][\w.$]*", name, re.ASCII):
            raise UsageError(f"{shown(word)} in options is not name=value", "write it as -c name=value")
        if name.lower() not in _NO_SETTINGS:
            settings[name] = value
    return settings
