"""A recording plays back just what was polled, over anything that a server may do."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgtop.core.activity import (
    ACTIVE,
    IDLE,
    IDLE_IN_TRANSACTION,
    MICROSECONDS,
    Backend,
    BackendId,
    ConnectionLimit,
    LimitOf,
    Limits,
    ServerIdentity,
)
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.over_time import DiagnosisOverTime
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.diagnosis.statements import fingerprint
from pgtop.core.outage import Limit, Outage, OutageKind
from pgtop.core.recorded import Seen
from pgtop.core.stalled_logins import Stall
from pgtop.history.recorder import Kept, Recorder
from pgtop.history.store import RecordingStore
from tests.builders import HOSTILE, NOW, SERVER_KEY, server_of, snapshot
from tests.support.polls import played, recorder_in, recording_in

QUERIES = (
    "SELECT 1",
    "COMMIT",
    "SELECT * FROM jobs WHERE id = {} AND name = 'it''s {}'",
    "UPDATE accounts SET balance = balance - {} WHERE id = {}",
    "<insufficient privilege>",
    HOSTILE,
    "",
)
WORDS = ("app", "web", "", HOSTILE, "x" * 63, "pgtop dashboard@wall", "a\n\tb")


class Server:
    """A server whose sessions come, go and change by chance."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - not a secret
        self.now = NOW
        self.backends: list[Backend] = []
        self.server = server_of()
        self.hidden = False
        self.facts = Facts()
        self.refusing: Limit | None = None
        self.interval = 2.0

    def polls(self, number: int) -> Iterator[Seen]:
        """Yield polls, most of them answered."""
        for _ in range(number):
            self.now += round(self.random.uniform(0.9, 1.1) * self.interval * MICROSECONDS)
            self._churn()
            yield self.poll()

    def poll(self) -> Seen:
        """One poll of it as it is now."""
        chance = self.random
        if chance.random() < 0.05:
            kind = chance.choice(list(OutageKind))
            limit = chance.choice((None, *Limit))
            outage = Outage(kind, f"no answer {chance.choice(WORDS)}", 3.5, limit, 4, 1.5, "no")
            return Seen(self.now, outage, self.interval, self.facts, self.refusing)
        shown = [self._hidden(each) if self.hidden else each for each in self.backends]
        taken = snapshot(
            *shown,
            taken_at=self.now,
            server=self.server,
            poll_seconds=chance.random(),
            listeners=frozenset(each.id for each in shown if each.pid % 7 == 0),
            is_rescue=chance.random() < 0.02,
            interruptions=self.server.version_num % 3,
            connection_limits=(ConnectionLimit(LimitOf.ROLE, HOSTILE, len(shown) // 9),),
            unlisted=chance.choice((0, 0, 0, 3)),
        )
        return Seen(self.now, taken, self.interval, self.facts, self.refusing)

    def _hidden(self, each: Backend) -> Backend:
        unseen = dict.fromkeys(("backend_start", "state_change", "xact_start", "query_start", "state"))
        return msgspec.structs.replace(each, **unseen, client_addr=None, query="<insufficient privilege>")

    def _churn(self) -> None:
        chance = self.random
        for _ in range(chance.choice((0, 0, 1, 5))):
            self.backends.append(self.new())
        if self.backends and chance.random() < 0.3:
            self.backends.pop(chance.randrange(len(self.backends)))
        if self.backends and chance.random() < 0.1:  # a pid is used again at once
            place = chance.randrange(len(self.backends))
            self.backends[place] = self.new(pid=self.backends[place].pid)
        if chance.random() < 0.03:
            chance.shuffle(self.backends)
        if self.backends and chance.random() < 0.02:  # a broken view shows one twice
            self.backends.append(chance.choice(self.backends))
        self.backends = [
            self._changed(each) if chance.random() < 0.1 else each for each in self.backends[-120:]
        ]
        if chance.random() < 0.03:
            self.server = server_of(
                Limits(chance.randrange(50, 200), 3, 2, chance.randrange(3)),
                host=chance.choice(("db1", "db2", HOSTILE)),
                version_num=chance.choice((130_002, 160_004, 180_000)),
                identity=ServerIdentity(
                    chance.choice((None, "7", "8")), chance.randrange(3), chance.random() < 0.5
                ),
            )
        if chance.random() < 0.05:
            self.hidden = not self.hidden
            self.interval = chance.choice((2.0, 2.0, 0.5, 10.0))
            self.refusing = chance.choice((None, *Limit))
            self.facts = Facts(
                {chance.randrange(1, 99): frozenset({0, chance.randrange(1, 99)})},
                chance.choice((None, Stall(3, 4, 5, ((HOSTILE, 2),)))),
                chance.choice((None, 1.5)),
                chance.choice((None, 7200.0)),
            )

    def new(self, pid: int | None = None) -> Backend:
        chance = self.random
        start = self.now - chance.randrange(10**9)
        fresh = Backend(
            pid=pid or chance.randrange(1, 2**31),
            backend_start=start,
            state_change=start,
            xact_start=None,
            query_start=start,
            state=IDLE,
            application_name=chance.choice(WORDS),
            usename=chance.choice(WORDS),
            datname=chance.choice((None, *WORDS)),
            client_addr=chance.choice((None, "10.0.0.7", "::1")),
            client_port=chance.choice((None, -1, 5000)),
            wait_event_type=None,
            wait_event=None,
            is_superuser=chance.random() < 0.1,
            query=None,
        )
        return self._changed(fresh)

    def _changed(self, each: Backend) -> Backend:
        chance = self.random
        fields: dict[str, Any] = {
            "state": chance.choice((IDLE, ACTIVE, IDLE_IN_TRANSACTION, "new in 19", None)),
            "state_change": self.now + chance.randrange(-(10**6), 2000),
            "xact_start": chance.choice((None, self.now - 5)),
            "query_start": self.now - chance.randrange(10**7),
            "wait_event_type": chance.choice((None, "Lock", "Client")),
            "wait_event": chance.choice((None, "ClientRead", HOSTILE)),
            "query": chance.choice((None, *QUERIES)),
            "is_of_own_role": chance.random() < 0.5,
            "idle_at_least": chance.random() < 0.5,
            "readings": chance.choice(((), (("a", "b"), ("a b", "")))),
            "holds_slot": chance.random() < 0.9,
        }
        if fields["query"] is not None:
            fields["query"] = fields["query"].replace("{}", str(chance.randrange(10**6)))
        names = chance.sample(sorted(fields), chance.randrange(1, len(fields)))
        return msgspec.structs.replace(each, **{name: fields[name] for name in names})


def fingerprinted(seen: Seen) -> Seen:
    if isinstance(seen.result, Outage):
        return seen
    backends = tuple(
        msgspec.structs.replace(each, query=None if each.query is None else fingerprint(each.query))
        for each in seen.result.backends
    )
    return msgspec.structs.replace(seen, result=msgspec.structs.replace(seen.result, backends=backends))


def recorded(root: Path, polls: list[Seen], chance: random.Random, patch: pytest.MonkeyPatch) -> None:
    """Record polls in batches of any size, over some days, by a program that is restarted now and then."""
    recorder = recorder_in(root, Kept.FINGERPRINTS)
    host = 1_700_000_000.0
    start = 0
    while start < len(polls):
        number = chance.choice((1, 2, 5, 5, 5, 40))
        patch.setattr("pgtop.history.store.time.time", lambda now=host: now)
        for each in polls[start : start + number]:
            recorder.polled(each)
        start += number
        host += chance.choice((10, 10, 10, 10_000))
        is_last = start >= len(polls) or chance.random() < 0.05
        recorder.write(recorder.take(), is_last=is_last)
        if is_last:
            recorder = recorder_in(root, Kept.FINGERPRINTS)


@pytest.mark.parametrize("seed", range(8))
def test_all_that_was_polled_is_played_back(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, back and forth, and wherever one looks; with the statements' literals left out."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    given = list(Server(seed).polls(500))
    recorded(tmp_path, given, chance, monkeypatch)
    wanted = [fingerprinted(each) for each in given]
    recording = recording_in(tmp_path)
    assert recording.problems == []
    assert played(recording) == wanted
    assert len(RecordingStore(tmp_path, SERVER_KEY).files()) > 1
    for _ in range(60):
        number = chance.randrange(len(wanted))
        position = recording.at(wanted[number].at + chance.choice((0, 1)))
        assert position is not None
        assert recording.seen(position) == wanted[number]
        back = recording.previous(position)
        assert (None if back is None else recording.seen(back)) == (wanted[number - 1] if number else None)
    first, last = wanted[100].at, wanted[300].at
    assert list(recording.between(first, last)) == wanted[100:301]
    assert sum(len(run.counts) for run in recording.counts(first, last)) == 201


def findings_of(polls: list[Seen]) -> list[tuple[Finding, ...]]:
    diagnosis = DiagnosisOverTime(0.2)
    return [diagnosis.take(each.result, each.facts) for each in polls if not isinstance(each.result, Outage)]


@pytest.mark.parametrize("seed", range(3))
def test_a_recording_is_diagnosed_as_the_server_was(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The findings over what is played back are those over what was polled, literals or not."""
    given = list(Server(seed).polls(200))
    recorded(tmp_path, given, random.Random(seed), monkeypatch)  # noqa: S311 - not a secret
    live = findings_of(given)
    assert any(live)
    assert findings_of(played(recording_in(tmp_path))) == live


def test_a_session_is_the_same_value_while_it_does_not_change(tmp_path: Path) -> None:
    """Reading a long recording takes no memory for sessions that rest."""
    server = Server(1)
    server.backends = [server.new() for _ in range(50)]
    one = server.poll()
    given = [
        msgspec.structs.replace(
            one, at=one.at + n, result=msgspec.structs.replace(one.result, taken_at=one.at + n)
        )
        for n in range(20)
    ]
    recorder = Recorder(RecordingStore(tmp_path, SERVER_KEY))
    for each in given:
        recorder.polled(each)
    recorder.write(recorder.take())
    found = [each.result for each in played(recording_in(tmp_path)) if not isinstance(each.result, Outage)]
    assert len({id(backend) for each in found for backend in each.backends}) == 50
    assert {each.backends[0].id for each in found} == {
        BackendId(found[0].backends[0].pid, found[0].backends[0].id.backend_start)
    }
