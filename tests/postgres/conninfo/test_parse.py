"""Of any conninfo at all: it is read as libpq reads it, it never crashes, and it never shows its password."""

import ctypes
import ctypes.util

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtop.errors import UsageError
from pgtop.postgres.conninfo.parameters import KNOWN
from pgtop.postgres.conninfo.parse import parse_conninfo
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.conninfo.target import Target

SECRET = "s3cr3t-Zw9"  # noqa: S105 (it opens nothing)
RELAXED = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


@RELAXED
def quoted(value: str) -> str:
    """Return a value as key=value pairs need it."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@given(
    st.lists(
        st.tuples(st.sampled_from(["user", "password", "dbname"]), st.text(st.characters(codec="utf-8")))
    )
)
def test_quoting_round_trips(pairs: list[tuple[str, str]]) -> None:
    pairs = [(name, value.replace("\0", "")) for name, value in pairs]
    text = " ".join(f"{name} = {quoted(value)}" for name, value in pairs)
    assert parse_conninfo(text or "user=a") == (dict(pairs) if pairs else {"user": "a"})


PIECES = st.sampled_from(
    [
        *sorted(KNOWN),
        "postgresql://",
        "=",
        "'",
        "\\",
        " ",
        "%",
        "%2F",
        "%41",
        "@",
        ":",
        "/",
        "?",
        "&",
        "[",
        "]",
        ",",
    ]
)
ANYTHING = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3))).map("".join))


def outcome(conninfo: str, environ: dict[str, str]) -> tuple[str, Target | None]:
    """What people see of a conninfo: its label, or what is wrong with it."""
    try:
        target = resolve(conninfo, {}, environ)
    except UsageError as error:
        return str(error), None
    return target.label, target


@RELAXED
@given(ANYTHING, st.dictionaries(st.sampled_from(["PGPORT", "PGHOST", "PGOPTIONS", "PGSSLMODE"]), ANYTHING))
def test_anything_resolves_or_is_a_usage_error(conninfo: str, environ: dict[str, str]) -> None:
    shown, target = outcome(conninfo, environ)
    assert shown.isprintable()
    assert target is None or len(target.hosts) == len(target.ports) == len(target.endpoints)


@RELAXED
@given(st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=8).map("".join))
def test_a_password_given_properly_is_shown_nowhere(rest: str) -> None:
    shown, target = outcome(f"password='{SECRET}' {rest}", {})
    assert SECRET not in f"{shown}{target!r}"


class _Option(ctypes.Structure):
    _fields_ = [
        ("keyword", ctypes.c_char_p),
        ("envvar", ctypes.c_char_p),
        ("compiled", ctypes.c_char_p),
        ("val", ctypes.c_char_p),
        ("label", ctypes.c_char_p),
        ("dispchar", ctypes.c_char_p),
        ("dispsize", ctypes.c_int),
    ]


@pytest.fixture(scope="module")
def libpq() -> ctypes.CDLL:
    name = ctypes.util.find_library("pq")
    if name is None:
        pytest.skip("no libpq on this machine to compare with")
    library = ctypes.CDLL(name)
    library.PQconninfoParse.restype = ctypes.POINTER(_Option)
    library.PQconninfoParse.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)]
    library.PQconninfoFree.argtypes = [ctypes.POINTER(_Option)]
    library.PQfreemem.argtypes = [ctypes.c_char_p]
    return library


def as_libpq_reads_it(libpq: ctypes.CDLL, conninfo: str) -> dict[str, bytes] | None:
    """libpq's own reading; None where it refuses."""
    message = ctypes.c_char_p()
    options = libpq.PQconninfoParse(conninfo.encode(), ctypes.byref(message))
    if not options:
        return None
    found: dict[str, bytes] = {}
    index = 0
    while options[index].keyword is not None:
        if options[index].val is not None:
            found[options[index].keyword.decode()] = options[index].val
        index += 1
    libpq.PQconninfoFree(options)
    return found


COMMON = ["host", "port", "user", "password", "dbname", "sslmode", "foo", "a", "é", "5432", "::1"]
SIGNS = ["=", "=", "'", "\\", " ", "\n", "%", "%41", "%2F", "@", ":", "/", "?", "&", "[", "]", ",", "="]
MIXED = st.lists(st.sampled_from(COMMON + SIGNS), max_size=12).map("".join)


@RELAXED
@given(rest=MIXED, uri=st.booleans())
def test_a_conninfo_is_read_as_libpq_reads_it(libpq: ctypes.CDLL, rest: str, uri: bool) -> None:
    """Never laxer; stricter only with bytes that are not text, with a URI where an @ leaves in doubt what the
    password is, and with what libpq lets stand in brackets."""
    conninfo = f"postgresql://{rest}" if uri else f"user=u {rest}"
    theirs = as_libpq_reads_it(libpq, conninfo)
    ours = as_pgtop_reads_it(conninfo)
    if isinstance(ours, UsageError):
        assert theirs is None or "@" in conninfo or "[" in conninfo or "UTF-8" in ours.problem
    else:
        assert ours == theirs


def as_pgtop_reads_it(conninfo: str) -> dict[str, bytes] | UsageError:
    try:
        return {name: value.encode() for name, value in parse_conninfo(conninfo).items()}
    except UsageError as error:
        return error
