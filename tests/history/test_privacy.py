"""No literal is in a recording unless that was asked for, and no statement with hide_queries."""

import random
import sqlite3
import zlib
from pathlib import Path

import pytest

from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.statements import fingerprint
from pgtop.core.recorded import Diagnosed
from pgtop.history.recorder import Kept, Recorder
from pgtop.history.store import RecordingStore
from tests.builders import SERVER_KEY, backend
from tests.support.polls import moment, poll, write

SECRET = "s3cr3tpass"  # noqa: S105 - none of anybody's

LITERALS = (
    "'{}'",
    "'it''s {}'",
    "E'\\'{}'",
    "e'{}\\\\'",
    "B'{}'",
    "X'{}'",
    "U&'{}'",
    "N'{}'",
    "$${}$$",
    "$body${}$body$",
    "$é$ $$ {} $é$",
    "'C:\\dir\\{}'",
    "'\\\\{}\\\\'",
    "'\\xDEADBEEF{}'::bytea",
    "'a'\n'{}'",
    "/* {} */ 1",
    "/* /* {} don't */ {} don't */ 2",
    "-- {} don't\n 3",
    "-- {} don't\r 3",
)
FRAMES = (
    "SELECT * FROM t WHERE a = {}",
    "ALTER ROLE joe WITH PASSWORD {} VALID UNTIL {}",
    "INSERT INTO t VALUES ({}, {}), ({}, {})",
    "COPY t FROM STDIN WITH (DELIMITER {}, NULL {})",
    'SELECT "a""b" , "c" FROM x WHERE y LIKE {} ESCAPE \'\\\' AND z = {}',
    "CREATE SUBSCRIPTION s CONNECTION {} PUBLICATION p",
    "SELECT f({}, $1, 0xFF, 1_000, .5e-3, {})",
)


def statements(seed: int, number: int) -> list[str]:
    """Statements of all kinds with a secret in each of their literals, some cut anywhere."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    found = []
    for _ in range(number):
        frame = chance.choice(FRAMES)
        while "{}" in frame:
            frame = frame.replace("{}", chance.choice(LITERALS).replace("{}", "\0"), 1)
        query = frame.replace("\0", SECRET)
        found.append(query if chance.random() < 0.5 else query[: chance.randrange(1, len(query))])
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_fingerprint_has_no_literal(seed: int) -> None:
    """Not a part of one either, wherever the text was cut; and it is its own fingerprint."""
    for query in statements(seed, 2_000):
        found = fingerprint(query)
        assert "s3" not in found, (query, found)
        assert "3t" not in found, (query, found)
        assert fingerprint(found) == found, (query, found)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT 'C:\\' , 'x y'", "SELECT ?"),
        ("SELECT E'x y\\", "SELECT ?"),
        ("SELECT 'x y\\", "SELECT ?"),
        ("/* /* don't */ don't */ SELECT 'x'", "SELECT ?"),
        ("SELECT 0x5EC, 1_000, 1e10, 2.5", "SELECT ?, ?, ?, ?"),
        ("SELECT $a$x y", "SELECT ?"),
        ("SELECT a\\b, 'x'", "SELECT a\\b, ?"),
        ("LIKE 'a\\_b' AND x = 'y'", "LIKE ? AND x = ?"),
        ("x = 'a\\\\' AND y = 'b'", "x = ? AND y = ?"),
    ],
)
def test_literals_that_are_hard_to_tell(query: str, found: str) -> None:
    assert fingerprint(query) == found


def content(root: Path) -> bytes:
    """All that is in the files, decompressed."""
    whole = b""
    for path in RecordingStore(root, SERVER_KEY).files():
        connection = sqlite3.connect(path)
        for table in ("chunk", "event"):
            for row in connection.execute(f"SELECT * FROM {table}"):
                for value in row:
                    whole += value if isinstance(value, bytes) else str(value).encode()
            for (body,) in connection.execute(f"SELECT body FROM {table} WHERE body IS NOT NULL"):
                whole += zlib.decompress(body)
        connection.close()
        whole += path.read_bytes()
    return whole


def finding(statement: str) -> Finding:
    """A finding that shows a statement."""
    return Finding(Kind.SLOW_STATEMENTS, Grade.IS, 5, f"5 sessions run {statement}", statements=(statement,))


def record(root: Path, kept: Kept) -> Recorder:
    """Record sessions with secrets, and a diagnosis that shows one's statement."""
    recorder = Recorder(RecordingStore(root, SERVER_KEY), kept)
    sessions = [backend(10 + number, query=query) for number, query in enumerate(statements(1, 300))]
    write(recorder, [poll(0, *sessions[:150]), poll(2, *sessions)])
    recorder.happened(Diagnosed(moment(2), (finding("SELECT secretive FROM t"),)))
    recorder.write(recorder.take())
    return recorder


@pytest.mark.parametrize("kept", [Kept.FINGERPRINTS, Kept.SESSIONS, Kept.COUNTS])
def test_no_literal_is_in_the_files(tmp_path: Path, kept: Kept) -> None:
    """And without statements, nothing of any is: neither a session's nor a diagnosis's."""
    record(tmp_path, kept)
    found = content(tmp_path)
    assert SECRET.encode() not in found
    assert (b"SUBSCRIPTION" in found) is (kept is Kept.FINGERPRINTS)
    assert (b"secretive" in found) is (kept is Kept.FINGERPRINTS)


def test_literals_are_kept_where_that_was_asked_for(tmp_path: Path) -> None:
    record(tmp_path, Kept.STATEMENTS)
    assert SECRET.encode() in content(tmp_path)


def test_hiding_begins_with_the_next_poll(tmp_path: Path) -> None:
    """The daemon reads its settings again while it runs: then no session's statement is written anew."""
    recorder = record(tmp_path, Kept.FINGERPRINTS)
    recorder.kept = Kept.SESSIONS
    write(recorder, [poll(4, backend(9, query="SELECT hush")), poll(6, backend(9, query="SELECT hush"))])
    assert b"hush" not in content(tmp_path)
    recorder.kept = Kept.STATEMENTS
    write(recorder, [poll(8, backend(9, query="SELECT hush"))])
    assert b"hush" in content(tmp_path)
