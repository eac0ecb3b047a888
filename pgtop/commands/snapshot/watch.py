"""The face of `pgtop snapshot --watch`: one line for each poll of a server, until a signal."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from pgtop.commands.snapshot.watch_lines import WatchLines
from pgtop.commands.standard_streams import ReaderGoneError, reader_is_gone, write_out
from pgtop.concurrency import unawaited_at_exit
from pgtop.core.activity import Snapshot
from pgtop.core.outage import Outage
from pgtop.core.stalled_logins import with_unlisted
from pgtop.diagnosis_watch import DiagnosisWatch
from pgtop.login_watch import LoginWatch
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.kinds import FullError, LimitReachedError
from pgtop.postgres.errors.network_and_driver import pooled_sentence
from pgtop.settings.defaults_and_bounds import Config
from pgtop.wiring import wire

_Answer = TypeVar("_Answer")

FACE: Final = "snapshot"
_READER_SECONDS: Final = 1.0
"""Seconds between two looks whether standard output is still read: in an outage nothing is written to it."""


async def watch(target: Target, config: Config, lines: WatchLines, tell: Callable[[str], None]) -> NoReturn:
    """Print a line for each poll, until cancelled. `tell` hears of a pooler.

    It raises PgtopError if the first connection fails for another reason than a lack of slots, and
    ReaderGoneError once standard output is closed at its other end.
    """
    own_connection, poller, _ = wire(target, config, FACE)
    logins = LoginWatch(poller, config.login_probe_seconds)
    diagnosis = DiagnosisWatch(own_connection, config.warn_at)
    beside = [asyncio.ensure_future(work) for work in (logins.run(), _until_unread())]
    try:
        with contextlib.suppress(FullError, LimitReachedError):
            await own_connection.take()
        warned = False
        while True:
            polled = await _unless_done(poller.next(), beside)
            if isinstance(polled, Outage):
                text = lines.outage(polled)
            else:
                await logins.settle(polled)
                text = await _told(polled, lines, logins, diagnosis, pooled=own_connection.pooled)
                if own_connection.pooled and not warned:
                    tell(pooled_sentence(polled.server.address))
                warned = own_connection.pooled
            if text:
                await _unless_done(unawaited_at_exit(partial(write_out, text)), beside)
    finally:
        for each in beside:
            each.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await own_connection.release()


async def _told(
    polled: Snapshot, lines: WatchLines, logins: LoginWatch, diagnosis: DiagnosisWatch, *, pooled: bool
) -> str:
    snapshot = with_unlisted(polled, logins.limit_here)
    if not pooled:  # others may answer there
        await diagnosis.ask(snapshot)
    findings = diagnosis.take(snapshot, logins.limit_here)
    return lines.polled(snapshot, findings, diagnosis.forecast, logins.limit)


async def _until_unread() -> None:
    while True:
        if reader_is_gone():
            raise ReaderGoneError
        await asyncio.sleep(_READER_SECONDS)


async def _unless_done(
    work: Coroutine[Any, Any, _Answer], beside: "Sequence[asyncio.Future[None]]"
) -> _Answer:
    """Return the answer of some work. It raises what ends any other work before."""
    task = asyncio.ensure_future(work)
    try:
        waiting: set[asyncio.Future[Any]] = {task, *beside}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in beside:
            if each.done():
                each.result()
        return await task
    finally:
        task.cancel()
