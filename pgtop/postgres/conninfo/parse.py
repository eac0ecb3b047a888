"""A conninfo as psql takes it, read into parameters: a URI, key=value pairs, or a bare database name.

No message here quotes what may be a piece of a password: a slip in quoting easily makes it look like a host,
a port or an option.
"""

import re
from typing import Final

from pgtop.errors import UsageError
from pgtop.postgres.conninfo.parameters import is_utf8, normalised, shown

URI_PREFIXES: Final = ("postgresql://", "postgres://")

_BLANKS: Final = " \t\n\v\f\r"
_ESCAPE: Final = re.compile(r"%(.{0,2})", re.DOTALL)
_ENCODE: Final = "in a URI write @ as %40, : as %3A, / as %2F and % as %25 within user and password"


def parse_conninfo(text: str) -> dict[str, str]:
    """The parameters of a conninfo; raises UsageError where it cannot be read.

    >>> parse_conninfo("host=db1 password='a b'")
    {'host': 'db1', 'password': 'a b'}
    >>> parse_conninfo("postgresql://app@db1:5433/shop?sslmode=require")
    {'user': 'app', 'host': 'db1', 'port': '5433', 'dbname': 'shop', 'sslmode': 'require'}
    >>> parse_conninfo("shop")
    {'dbname': 'shop'}
    """
    if "\0" in text:
        raise UsageError("the conninfo holds a null character", "remove it")
    if not is_utf8(text):
        raise UsageError("the conninfo is not UTF-8", "encode it as UTF-8")
    for prefix in URI_PREFIXES:
        if text.startswith(prefix):
            return _parse_uri(text[len(prefix) :])
    return parse_pairs(text) if "=" in text else {"dbname": text}


def is_connection_uri(text: str | None) -> bool:
    """Return whether a conninfo is a URI."""
    return text is not None and text.startswith(URI_PREFIXES)


def parse_pairs(text: str) -> dict[str, str]:
    """The parameters of a key=value conninfo, by libpq's quoting rules; the last of a name counts."""
    found: dict[str, str] = {}
    position = _skip_blanks(text, 0)
    before = ""
    while position < len(text):
        end = position
        while end < len(text) and text[end] != "=" and text[end] not in _BLANKS:
            end += 1
        name = text[position:end]
        position = _skip_blanks(text, end)
        if position >= len(text) or text[position] != "=":
            named = "" if found else f" after {shown(name)}"
            raise UsageError(
                f'missing "="{named} in the conninfo', "a value with spaces needs single quotes around it"
            )
        value, position = _read_value(text, _skip_blanks(text, position + 1))
        if "password" in before:
            _refuse_unknown_unnamed(name)
        key, value = normalised(name, value)
        found[key] = value
        before = name
        position = _skip_blanks(text, position)
    return found


def _refuse_unknown_unnamed(name: str) -> None:
    try:
        normalised(name, "")
    except UsageError as error:
        raise UsageError(
            "invalid connection option after the password",
            "a value with spaces needs single quotes around it",
        ) from error


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BLANKS:
        position += 1
    return position


def _read_value(text: str, position: int) -> tuple[str, int]:
    """The value that begins there, and where the text goes on after it."""
    quoted = text[position : position + 1] == "'"
    position += quoted
    value: list[str] = []
    while position < len(text):
        character = text[position]
        if quoted and character == "'":
            return "".join(value), position + 1
        if not quoted and character in _BLANKS:
            break
        if character == "\\":
            position += 1
            character = text[position : position + 1]
        value.append(character)
        position += 1
    if quoted:
        raise UsageError("unterminated quoted string in the conninfo", "close it with a single quote")
    return "".join(value), position


def _parse_uri(rest: str) -> dict[str, str]:
    authority = re.match(r"[^@/]*", rest)
    end = authority.end() if authority else 0
    found: dict[str, str] = {}
    if rest[end : end + 1] == "@":
        user, _, password = rest[:end].partition(":")
        _store(found, {"user": user, "password": password})
        rest = rest[end + 1 :]
    location, _, query = rest.partition("?")
    hosts, slash, database = location.partition("/")
    # Unencoded, a password's own @ or / would go on as host, port or database, onto screens and into logs.
    names, ports = _split_hosts(hosts)
    doubtful = "@" in rest and not re.fullmatch(r"[0-9,]*", ports)
    if "@" in hosts or "@" in database or doubtful:
        raise UsageError("the connection URI is ambiguous at its @", _ENCODE)
    _store(found, {"host": names, "port": ports, "dbname": database if slash else ""})
    # libpq takes one & at the end, which programs that add parameters leave behind.
    for pair in query.removesuffix("&").split("&") if query else ():
        name, value = _split_query(pair)
        key, value = normalised(*_jdbc(_decoded(name), _decoded(value)))
        found[key] = value
    return found


def _store(found: dict[str, str], parts: dict[str, str]) -> None:
    for name, value in parts.items():
        if value:
            found[name] = _decoded(value)


def _jdbc(name: str, value: str) -> tuple[str, str]:
    return ("sslmode", "require") if (name, value) == ("ssl", "true") else (name, value)


def _split_hosts(hosts: str) -> tuple[str, str]:
    """Hosts and ports, each separated by commas; IPv6 addresses lose their brackets."""
    names: list[str] = []
    ports: list[str] = []
    position = 0
    while True:
        if hosts[position : position + 1] == "[":
            end = hosts.find("]", position)
            if end < 0:
                raise UsageError("an IPv6 address in the connection URI lacks its ]", "close the bracket")
            if end == position + 1:
                raise UsageError("an IPv6 address in the connection URI is empty", "write it in the brackets")
            names.append(hosts[position + 1 : end])
            position = end + 1
            if hosts[position : position + 1] not in ("", ":", ","):
                raise UsageError(
                    "an IPv6 address in the connection URI is followed by something else",
                    "after ] comes : and a port, a comma, or /",
                )
        else:
            found = re.compile(r"[^:,]*").match(hosts, position)
            names.append(found[0] if found else "")
            position += len(names[-1])
        port, comma, _ = hosts[position:].partition(",")
        ports.append(port[1:])
        position += len(port) + 1
        if not comma:
            break
    return ",".join(names), ",".join(ports)


def _split_query(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals:
        raise UsageError('missing "=" in a query parameter of the connection URI', "write ?name=value&…")
    if "=" in value:
        raise UsageError('extra "=" in a query parameter of the connection URI', "write = in a value as %3D")
    return name, value


def _decoded(text: str) -> str:
    """Percent-decode; raise UsageError for a % that begins no byte, for %00 and for what is not UTF-8."""
    for found in _ESCAPE.finditer(text):
        if not re.fullmatch(r"[0-9a-fA-F]{2}", found[1]):
            raise UsageError("a % in the connection URI is not followed by two hex digits", _ENCODE)
        if found[1] == "00":
            raise UsageError("the connection URI holds %00", "remove it")
    raw = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text.encode().decode("latin-1"))
    try:
        return raw.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            "a part of the connection URI is not UTF-8", "encode it as UTF-8, then as %…"
        ) from error
