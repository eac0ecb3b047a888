"""Makes the recordings of tests/history/recordings again, from the demo: `python -m tests.recordings`.

A demo runs, is polled as the dashboard polls, and what the polls saw is kept in one file a scenario. Nothing
in it tells of the machine that it was made on: the server is `demo:5432`, and so is the host in pgtop's own
name.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from pgtop.core.activity import Backend, Snapshot
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.core.recorded import Event, Seen
from pgtop.core.stalled_logins import with_unlisted
from pgtop.demo.run import running_demo
from pgtop.demo.scenarios.catalogue import SCENARIOS, Scenario
from pgtop.diagnosis_watch import DiagnosisWatch
from pgtop.history.recorder import Kept, Recorder
from pgtop.history.store import RecordingStore, ServerKey
from pgtop.login_watch import LoginWatch
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.conninfo.target import Target
from pgtop.settings.defaults_and_bounds import Config
from pgtop.wiring import wire
from tests.servers import REPOSITORY, default_binaries

PLACE: Final = REPOSITORY / "tests" / "history" / "recordings"
HOST: Final = "demo"
_AFTER_SECONDS: Final = 10.0
"""Seconds for which a finding is recorded after it is due."""
_FACE: Final = "recorder"


def scenario_of(path: Path) -> Scenario:
    """Return the scenario that a recording was made of."""
    return SCENARIOS[path.name.partition(".")[0]]


async def watched(target: Target, scenario: Scenario, audit_log: Path) -> list[Seen]:
    """Poll a demo until its finding is due, and a little longer; return what the polls saw."""
    config = Config(audit_log=audit_log, history=None)
    own_connection, poller, _ = wire(target, config, _FACE)
    logins = LoginWatch(poller, config.login_probe_seconds)
    diagnosis = DiagnosisWatch(own_connection, config.warn_at, Thresholds(compression=scenario.compression))
    polls: list[Seen] = []
    knocking = asyncio.ensure_future(logins.run())
    try:
        end = time.monotonic() + scenario.seconds + _AFTER_SECONDS
        while time.monotonic() < end:
            polled = await poller.next()
            if isinstance(polled, Snapshot):
                await logins.settle(polled)
                snapshot = with_unlisted(polled, logins.limit_here)
                await diagnosis.ask(snapshot)
                diagnosis.take(snapshot, logins.limit_here)
                polls.append(
                    Seen(
                        snapshot.taken_at,
                        snapshot,
                        config.interval_seconds,
                        diagnosis.facts,
                        logins.limit_here,
                    )
                )
    finally:
        knocking.cancel()
        await asyncio.gather(knocking, return_exceptions=True)
        await own_connection.release()
    return polls


def neutral(polls: Iterable[Seen]) -> Iterator[Seen]:
    """Yield the polls without what tells of this machine."""
    known: dict[Backend, Backend] = {}
    for seen in polls:
        snapshot = seen.result
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"the demo's server did not answer: {snapshot}")
        backends = tuple(known.setdefault(each, _neutral_session(each)) for each in snapshot.backends)
        known = {old: known[old] for old in snapshot.backends}
        identity = msgspec.structs.replace(snapshot.server.identity, system_identifier="7")
        server = msgspec.structs.replace(snapshot.server, host=HOST, port=5432, identity=identity)
        bare = msgspec.structs.replace(snapshot, server=server, backends=backends)
        yield msgspec.structs.replace(seen, result=bare)


def _neutral_session(backend: Backend) -> Backend:
    if not backend.is_pgtop or backend.application_name is None:
        return backend
    name = backend.application_name.partition("@")[0]
    return msgspec.structs.replace(backend, application_name=f"{name}@{HOST}")


def write(path: Path, polls: Iterable[Seen], events: Iterable[Event] = ()) -> None:
    """Write polls and events into one new file."""
    with TemporaryDirectory() as directory:
        store = RecordingStore(Path(directory), ServerKey(f"{HOST}:5432", 0))
        recorder = Recorder(store, Kept.FINGERPRINTS)
        for seen in polls:
            recorder.polled(seen)
        for event in events:
            recorder.happened(event)
        recorder.write(recorder.take(), is_last=True)
        (file,) = store.files()
        path.write_bytes(file.read_bytes())


def record(name: str, into: Path) -> Path:
    """Record a scenario; return the file."""
    scenario = SCENARIOS[name]
    with TemporaryDirectory() as directory, running_demo(scenario=scenario) as demo:
        target = resolve(demo.uri, {}, {})
        polls = asyncio.run(watched(target, scenario, Path(directory, "audit.jsonl")))
    path = into / f"{name}.sqlite3"
    write(path, neutral(polls))
    return path


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.recordings", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(SCENARIOS)}; else all")
    parser.add_argument("--into", type=Path, default=PLACE, metavar="DIRECTORY")
    chosen = parser.parse_args()
    os.environ.setdefault("PGTOP_PG_BIN", str(default_binaries()))
    chosen.into.mkdir(parents=True, exist_ok=True)
    for name in chosen.names or SCENARIOS:
        path = record(name, chosen.into)
        sys.stderr.write(f"{path.name}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
