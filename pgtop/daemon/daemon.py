"""The face of `pgtop reap --watch`: polls, reaps by itself, and tells of it, until it is asked to end.

It keeps one connection, and opens it again whatever befalls server or network. It ends in order: what was
begun gets its outcome lines, the key goes to the next daemon, the connection back to the server.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from pgtop.automatic_watch import AutomaticWatch
from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.outage import Outage
from pgtop.core.plan import DecidedBy
from pgtop.daemon.log import DaemonLog, summary
from pgtop.daemon.metrics import serving
from pgtop.daemon.reporter import DaemonReport
from pgtop.daemon.systemd import Systemd
from pgtop.errors import PgtopError
from pgtop.exit_codes import ExitCode
from pgtop.flight_recorder import flight_recorder, kept_part
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.session.login_probe import LoginProbe
from pgtop.settings.defaults_and_bounds import Config
from pgtop.wiring import wire

FACE: Final = "daemon"
DRY_FACE: Final = "dry-run"

_SLACK_SECONDS: Final = 30.0
"""Seconds a loop may take beyond its interval before it counts as hung."""

_GRACE_SECONDS: Final = 5.0
"""Seconds a sweep may go on after a signal to end. Then its connection is dropped: a server that does not
answer cannot hold it up, and each victim still gets the outcome that is known."""

_RESTART_ONLY: Final = (
    "audit_log",
    "audit_max_size_bytes",
    "audit_keep",
    "metrics_listen",
    "history",
    "record_dir",
    "record_keep_seconds",
    "record_max_size_bytes",
)


class Daemon:
    """One daemon on one server."""

    def __init__(
        self,
        target: Target,
        config: Config,
        log: DaemonLog,
        *,
        read_config: Callable[[], tuple[Config, Target]],
        dry_run: bool = False,
        thresholds: Thresholds = STANDARD,
    ) -> None:
        """`read_config` reads settings and server again, and raises UsageError where they are bad.

        `thresholds` are those of the diagnosis.
        """
        self._target = target
        self._config = config
        self._log = log
        self._read_config = read_config
        self._dry_run = dry_run
        wiring = wire(target, config, DRY_FACE if dry_run else FACE, log.audit_stream)
        self._own_connection, self._poller, self.reaper = wiring
        self._watched = AutomaticWatch(
            wiring, config, dry_run=dry_run, thresholds=thresholds, knocked=self._knocked
        )
        self._auto, self._diagnosis = self._watched.automatic, self._watched.diagnosis
        self._logins = self._watched.logins
        self._recorder = flight_recorder(target, config, DRY_FACE if dry_run else FACE)
        self._systemd = Systemd(os.environ)
        self._report = DaemonReport(log, self._systemd)
        self._stop = asyncio.Event()
        self._exit_code = int(ExitCode.DONE)
        self._progress = time.monotonic()
        self._beside: list[asyncio.Future[None]] = []

    async def run(self) -> int:
        """Stay until a signal; return the exit code.

        Raises PgtopError where it cannot begin: a login that is refused, a pooler in between, states that are
        hidden, an address for the metrics that is taken.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end, ExitCode.DONE)
        loop.add_signal_handler(signal.SIGINT, self._end, 128 + signal.SIGINT)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        try:
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(self._leave)
                if not await self._unless_stopped(self._begin()):
                    return self._exit_code
                if self._config.metrics_listen:
                    stack.enter_context(serving(self._report.figures, self._config.metrics_listen))
                works = [self._logins.run(), self._keep_watchdog_quiet()]
                if self._recorder is not None:
                    stack.push_async_callback(self._recorder.finish)
                    works.append(self._recorder.run())
                for work in works:
                    self._beside.append(asyncio.ensure_future(work))
                    stack.push_async_callback(_cancel, self._beside[-1])
                self._systemd.ready()
                await self._watch()
        finally:
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(each)
        return self._exit_code

    # Beginning and ending

    async def _begin(self) -> None:
        rules = summary(self._config.policy, self._config.every_seconds, self._config.findings)
        where = self._target.label
        self._log.tell("start", f"{'dry run: ' if self._dry_run else ''}watching {where}: {rules}")
        # Acted on by _watch: what is given up here at a signal must not be a sweep that has begun.
        await self._watched.begin()

    def _end(self, exit_code: int) -> None:
        self._exit_code = int(exit_code)
        if not self._stop.is_set():
            asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._own_connection.drop)
        self._stop.set()

    async def _leave(self) -> None:
        self._systemd.stopping()
        await self._own_connection.release()  # the key goes with the session
        self._log.tell("stop", "ended")

    def reload(self) -> None:
        """Read the configuration again and put it in force; the old one stays where the new one is bad."""
        self._systemd.reloading()
        try:
            config, target = self._read_config()
        except PgtopError as error:
            said = f"the new configuration is invalid, the old one stays in force: {error}"
            self._log.tell("reload_refused", said, warning=True)
        else:
            self._put_in_force(config, target)
        self._systemd.ready()

    def _put_in_force(self, config: Config, target: Target) -> None:
        later = [name for name in _RESTART_ONLY if getattr(config, name) != getattr(self._config, name)]
        if target.label != self._target.label:
            later.append(f"the server, {target.label}")
        else:
            # A password that was typed stays, and no other is looked up while the daemon runs.
            self._own_connection.target = msgspec.structs.replace(
                self._own_connection.target, rescue=target.rescue
            )
        self._config = config
        self.reaper.read_only = config.read_only
        self._auto.policy = config.policy
        self._auto.every_seconds = config.every_seconds
        self._auto.only = config.findings
        self._diagnosis.warn_at = config.warn_at
        self._auto.interval_seconds = self._poller.interval_seconds = config.interval_seconds
        self._poller.wake()  # the others are told at once how long the next poll may take
        self._own_connection.hides_queries = config.hide_queries
        if self._recorder is not None:
            self._recorder.kept = kept_part(config)
        self._log.queries = config.log_queries and not config.hide_queries
        self._log.as_json(config.log_format == "json")
        self._logins.seconds = config.login_probe_seconds
        note = f"; at the next start: {', '.join(later)}" if later else ""
        rules = summary(config.policy, config.every_seconds, config.findings)
        said = f"configuration reloaded: {rules}{note}"
        self._log.tell("reload", said)

    # Watching

    async def _watch(self) -> None:
        while not self._stop.is_set():
            # Outside of what a signal gives up: each session that was signalled gets its outcome line.
            if self._watched.polled is not None:
                await self._take(self._watched.polled)
            for work in self._beside:
                if work.done():
                    work.result()
            if not await self._unless_stopped(self._poll()):
                return

    async def _poll(self) -> None:
        await self._watched.poll()

    def _diagnose(self, snapshot: Snapshot) -> tuple[Finding, ...]:
        findings = self._watched.diagnose(snapshot)
        self._report.diagnosed(findings, self._diagnosis.forecast)
        return findings

    def _knocked(self, knocked: LoginProbe) -> None:
        self._report.login((knocked.limit is not None) if knocked.is_known else None)

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """True where the work was done before a signal asked to end; it is given up otherwise."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await _cancel(task)
                return False
            task.result()
            return True
        finally:
            await _cancel(stop)

    async def _take(self, result: Snapshot | Outage) -> None:
        self._progress = time.monotonic()
        if isinstance(result, Outage):
            self._report.outage(result)
            self._record(result)
            return
        self._report.polled(result, self._config.interval_seconds + _SLACK_SECONDS)
        findings = self._diagnose(result)
        self._record(result, findings)
        try:
            self._watched.refuse_pooler()
            if self._config.read_only and not self._dry_run:
                await self._auto.stop()
                raise PgtopError(
                    "read_only is set now: nothing is terminated, and another daemon may take over"
                )
            turn = await self._watched.turn(result, findings)
            self._report.turn(turn, result, self._config.policy, dry_run=self._dry_run)
            if turn.report is not None and self._recorder is not None:
                self._recorder.reaped(turn.report, DecidedBy.POLICY)
        except (PgtopError, *DRIVER_ERRORS) as error:
            self._report.trouble(error)

    def _record(self, result: Snapshot | Outage, findings: tuple[Finding, ...] = ()) -> None:
        if self._recorder is None:
            return
        refusing, facts = self._logins.limit_here, self._diagnosis.facts
        self._recorder.polled(result, self._poller.interval_seconds, refusing, facts)
        if isinstance(result, Snapshot):
            self._recorder.diagnosed(findings)
        if self._recorder.notice:
            self._log.tell("recording", self._recorder.notice, warning=True)
            self._recorder.notice = ""

    async def _keep_watchdog_quiet(self) -> None:
        seconds = self._systemd.watchdog_seconds
        if seconds is None:
            return
        while True:
            if time.monotonic() - self._progress < self._config.interval_seconds + _SLACK_SECONDS:
                self._systemd.alive()
            await asyncio.sleep(seconds / 3)


async def _cancel(work: "asyncio.Future[Any]") -> None:
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


def watch(
    target: Target,
    config: Config,
    log: DaemonLog,
    *,
    read_config: Callable[[], tuple[Config, Target]],
    dry_run: bool,
    thresholds: Thresholds = STANDARD,
) -> Coroutine[Any, Any, int]:
    """A daemon on a server, until a signal ends it; gives the exit code. Raises as `Daemon.run` does."""
    return Daemon(target, config, log, read_config=read_config, dry_run=dry_run, thresholds=thresholds).run()
