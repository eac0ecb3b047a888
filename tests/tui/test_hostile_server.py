"""Answers that no honest server gives: the dashboard says so, keeps the last data, and its keys work."""

from pathlib import Path

import msgspec
import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres import snapshot_probe as probe
from tests.support.dashboards import Driven
from tests.support.hostile import POLLS, Rewrite, honest, hostile_relay, message, rewriting
from tests.support.outages import dashboard_on, is_live
from tests.support.targets import target_of

UNREADABLE = "could not be read"


def dripping() -> Rewrite:
    """Notices without end, small enough that none is too long."""

    def rewrite(kind: int, body: bytes) -> bytes:
        return message("N", b"SNOTICE\0C00000\0Mhello\0\0") if chr(kind) == "Z" else message(chr(kind), body)

    return rewrite


def before_a_row(piece: bytes) -> Rewrite:
    """Says this before each row."""

    def rewrite(kind: int, body: bytes) -> bytes:
        return (piece if chr(kind) == "D" else b"") + message(chr(kind), body)

    return rewrite


CASES: dict[str, tuple[Rewrite, str]] = {
    "a time beyond dates": (rewriting(b'"backends"', POLLS["infinite time"]), UNREADABLE),
    "more rows than connections": (
        rewriting(b'"backends"', POLLS["rows beyond max_connections"]),
        UNREADABLE,
    ),
    "a gigabyte": (before_a_row(message("D", b"x" * 1_000_000, length=2**30)), UNREADABLE),
    "a long error": (before_a_row(message("E", b"SERROR\0M" + b"x" * 1_000_000 + b"\0\0")), UNREADABLE),
    "an answer that never ends": (dripping(), "did not answer within 1 s"),
}


@pytest.mark.parametrize(("rewrite", "said"), CASES.values(), ids=CASES)
async def test_the_dashboard_outlives_it(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rewrite: Rewrite, said: str
) -> None:
    """A key still sorts the list, and honest answers bring it back."""
    monkeypatch.setattr(probe, "POLL_LIMIT_SECONDS", 1.0)
    async with hostile_relay(server) as way:
        target = target_of(server, "sslmode=disable")
        target = msgspec.structs.replace(target, ports=(way.port,), connect_timeout_seconds=2.0)
        async with dashboard_on(target, tmp_path) as driven:
            await is_live(driven)
            way.rewrite = rewrite
            await driven.shows(said)
            await sorts(driven)
            way.rewrite = honest
            await is_live(driven)


async def sorts(driven: Driven) -> None:
    """A key does what it is there for."""
    before = driven.backends.sort_column
    await driven.press("s")
    assert driven.backends.sort_column is not before
