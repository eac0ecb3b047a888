"""Scrubbing: no name is left, equal names stay equal, and the diagnosis says the same."""

import re
from collections.abc import Iterator
from itertools import chain

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.activity import ACTIVE, ConnectionLimit, LimitOf, Snapshot
from pgtop.core.diagnosis.diagnose import diagnose
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.diagnosis.statements import fingerprint, is_handed_back, is_keepalive
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.plan import DEFAULT_PROTECTED_APPLICATIONS, Act, DecidedBy, Outcome, Trigger
from pgtop.core.recorded import Acted, Diagnosed, Event, OutageBegan, Seen, ServerChanged
from pgtop.core.scrubbing import NameKind, Scrubber
from pgtop.core.server_change import ServerChange
from pgtop.core.session_patterns import Patterns
from pgtop.core.stalled_logins import Stall
from tests.builders import HOSTILE, NOW, backend, server_of, snapshot
from tests.core.diagnosis.incidents import DECOYS, INCIDENTS, Case, case_of

MARK = "Zebra"
"""A part of every name that must not be left."""

NAMES = st.builds(
    "".join,
    st.tuples(st.text(max_size=6), st.just(MARK), st.text(alphabet="aZ09-_ .ß\x1b'\"$é", max_size=8)),
)
STATEMENTS = st.lists(
    st.one_of(NAMES, st.sampled_from(["SELECT", " ", "FROM", "(", "'", '"', "$$", "--", "/*", "E'\\'", ","])),
    max_size=12,
).map("".join)


def everything(name: str, statement: str, address: str = "10.77.5.3") -> Iterator[Seen | Event]:
    """Polls and events that hold a name, a statement and an address wherever one can stand."""
    sessions = (
        backend(10, application_name=name, usename=name, datname=name, query=statement, client_addr=address),
        backend(11, application_name=f"pgtop {name}", usename=f"{name} x", readings=((name, name),)),
        backend(12, application_name=f"pgtop reap@{name}", query=f"SELECT '{name}'"),
        backend(13, application_name=f"psql {name}", state=ACTIVE, client_addr=name[:1000]),
    )
    limits = (ConnectionLimit(LimitOf.ROLE, name, 3), ConnectionLimit(LimitOf.DATABASE, name, 3))
    shown = snapshot(*sessions, server=server_of(host=name), connection_limits=limits)
    shown = msgspec.structs.replace(shown, privileges=msgspec.structs.replace(shown.privileges, role=name))
    stall = Stall(3, 4, 5, ((address, 3), (name, 1)))
    outage = Outage(OutageKind.UNREACHABLE, f"{name} cannot be reached", rescue_problem=f"no {name}")
    yield Seen(NOW, shown, 2.0, Facts(stall=stall))
    yield Seen(NOW, outage, 2.0)
    yield OutageBegan(NOW, outage)
    yield ServerChanged(NOW, ServerChange.REPLACED, f"ANOTHER SERVER answers at {name}")
    yield Acted(
        NOW,
        Act.TERMINATE,
        Trigger.USAGE,
        DecidedBy.POLICY,
        f"{name} as {name}",
        "daemon",
        ((Outcome.TERMINATED, 1),),
        0.9,
        0.8,
        ((name, 1),),
    )
    finding = Finding(
        Kind.LEAK,
        Grade.IS,
        4,
        f"leak in {name}: {statement}",
        application_name=name,
        usename=name,
        datname=name,
        addresses=((address, 4),),
        evidence=((name, statement),),
        statements=(statement,),
    )
    yield Diagnosed(NOW, (finding,))


def scrubbed(scrubber: Scrubber, what: Seen | Event) -> Seen | Event:
    return scrubber.seen(what) if isinstance(what, Seen) else scrubber.event(what)


@given(NAMES.filter(lambda name: len(name) < 900), STATEMENTS)
def test_no_name_or_statement_is_left(name: str, statement: str) -> None:
    scrubber = Scrubber()
    for what in everything(name, statement):
        text = repr(scrubbed(scrubber, what))
        assert MARK.lower() not in text.lower()
        assert "10.77" not in text


def test_everything_is_checked() -> None:
    """Without the scrubber, the name and the address would be found in each of them."""
    for what in everything(f"a{MARK}", f"SELECT {MARK}"):
        assert MARK in repr(what)


@given(st.lists(st.text(max_size=12), min_size=2, max_size=6), st.sampled_from(NameKind))
def test_equal_names_alone_stay_equal(names: list[str], kind: NameKind) -> None:
    scrubber = Scrubber()
    new = [scrubber.name(kind, each) for each in names]
    assert [scrubber.name(kind, each) for each in names] == new
    assert len(set(new)) == len(set(names))


@given(st.ip_addresses(), st.ip_addresses())
def test_addresses_stay_apart(one: object, other: object) -> None:
    scrubber = Scrubber()
    assert (scrubber.address(str(one)) == scrubber.address(str(other))) == (str(one) == str(other))


@given(STATEMENTS, STATEMENTS)
def test_statements_alike_stay_alike(one: str, other: str) -> None:
    scrubber = Scrubber()
    same = fingerprint(one) == fingerprint(other)
    if same:
        assert scrubber.statement(one) == scrubber.statement(other)
    assert is_keepalive(scrubber.statement(one)) == is_keepalive(fingerprint(one))


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("SELECT pg_advisory_unlock_all()", "SELECT pg_advisory_unlock_all()"),
        ("DISCARD ALL", "DISCARD ALL"),
        ("SELECT 1", "SELECT ?"),
        ('UPDATE "My Table" SET owner = $1 -- ann', "UPDATE name_a SET owner = ?"),
        ("SELECT * FROM jobs j JOIN jobs k ON j.id = k.id", None),
        ("CALL überweisung(ann, 5)", "CALL name_a(name_b, ?)"),
        ("SELECT now(), max(x) FROM public.orders WHERE note LIKE 'a%'", None),
    ],
)
def test_a_statement_keeps_its_form(statement: str, left: str | None) -> None:
    new = Scrubber().statement(statement)
    assert left is None or new == left
    assert is_handed_back(new) == is_handed_back(statement)
    plain = fingerprint(statement)
    words = re.compile(r'"[^"]*"|[^\W\d]\w*')
    assert [len(each) for each in words.sub("", plain).split()] == [
        len(each) for each in words.sub("", new).split()
    ]


def cases() -> Iterator[Case]:
    for kind, make in INCIDENTS:
        structural = kind in (Kind.LIMIT, Kind.LOGIN_STALL, Kind.LOCK_QUEUE)
        yield from (case_of(make, seed, 0.0 if structural else 0.72) for seed in range(3))
    yield from chain.from_iterable((case_of(make, seed, 0.72) for seed in range(2)) for make in DECOYS)


def test_the_diagnosis_says_the_same() -> None:
    """Of simulated servers: the same causes, the same sessions, and as certain."""
    number = 0
    for case in cases():
        scrubber = Scrubber()
        before = diagnose(case.snapshot, facts=case.facts)
        after = diagnose(scrubber.snapshot(case.snapshot), facts=scrubber.facts(case.facts))
        assert [figures(each) for each in after] == [figures(each) for each in before], case
        number += len(before)
    assert number > 50


def figures(finding: Finding) -> tuple[object, ...]:
    """What a finding says beside names."""
    return (finding.kind, finding.grade, finding.slots, finding.backends, finding.since, finding.per_minute)


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("psql", "psql"),
        ("DBeaver 23.1.2 - SQLEditor <secret.sql>", r"DBeaver a-\d"),
        ("pgAdmin 4 - CONN:1234", r"pgAdmin a-\d"),
        ("postgres_exporter", "exporter-a"),
        ("Patroni heartbeat", "Patroni a"),
        ("pg_dump", "pg_dump"),
        ("pgtop dashboard@jump-3", "pgtop dashboard@host-a"),
        ("etl-job-4711", r"app-a-\d"),
    ],
)
def test_a_known_program_is_known_still(name: str, new: str) -> None:
    assert re.fullmatch(new, Scrubber().name(NameKind.APPLICATION, name))
    protected = Patterns(DEFAULT_PROTECTED_APPLICATIONS)
    one = backend(10, application_name=name)
    other = backend(10, application_name=Scrubber().name(NameKind.APPLICATION, name))
    assert (protected.protecting(one) is None) == (protected.protecting(other) is None)
    assert one.is_pgtop == other.is_pgtop


def test_sessions_that_stay_the_same_stay_one_value() -> None:
    """So that a recording of them stays small."""
    scrubber = Scrubber()
    old = snapshot(backend(10), backend(11))
    one, two = scrubber.snapshot(old), scrubber.snapshot(old)
    assert all(a is b for a, b in zip(one.backends, two.backends, strict=True))
    assert isinstance(one, Snapshot)


def test_two_sessions_of_one_identity_both_stay() -> None:
    twins = snapshot(backend(10, application_name="web"), backend(10, application_name="api"))
    names = [each.application_name for each in Scrubber().snapshot(twins).backends]
    assert names == ["app-a", "app-b"]


def test_a_text_gets_the_names_that_were_met() -> None:
    scrubber = Scrubber()
    scrubber.snapshot(
        snapshot(
            backend(10, application_name="leaky-worker", client_addr="10.0.4.7", query="SELECT * FROM jobs")
        )
    )
    said = scrubber.text("leak in leaky-worker at 10.0.4.7: SELECT * FROM jobs; leaky-worker-2 stays")
    assert said == "leak in app-a at 198.18.0.1: SELECT * FROM name_a; app-a-2 stays"
    assert scrubber.text(HOSTILE) == HOSTILE
