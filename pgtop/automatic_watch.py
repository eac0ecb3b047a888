"""AutomaticWatch: a server that is polled, diagnosed and swept automatically, for a face that tells of it."""

import asyncio
from collections.abc import Callable
from typing import Final

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.retaken_slots import LATER_SECONDS, SOON_SECONDS
from pgtop.core.stalled_logins import with_unlisted
from pgtop.diagnosis_watch import DiagnosisWatch
from pgtop.errors import ConnectError, PgtopError
from pgtop.login_watch import LoginWatch
from pgtop.postgres.errors.kinds import FullError
from pgtop.postgres.errors.network_and_driver import DIRECTLY, hidden_states_error, pooler_error
from pgtop.postgres.session.login_probe import LoginProbe
from pgtop.reaping.automatic import Turn
from pgtop.settings.defaults_and_bounds import Config
from pgtop.wiring import Wiring

_PASSES: Final = frozenset(
    {
        OutageKind.FULL,
        OutageKind.LIMIT,
        OutageKind.LOST,
        OutageKind.STARTING,
        OutageKind.TIMEOUT,
        OutageKind.UNREACHABLE,
    }
)
"""Outages that pass by themselves: no reason not to start."""


class AutomaticWatch:
    """One server, from one poll to the next. The face decides when to poll and when to act."""

    def __init__(
        self,
        wiring: Wiring,
        config: Config,
        *,
        dry_run: bool = False,
        thresholds: Thresholds = STANDARD,
        knocked: Callable[[LoginProbe], None] = lambda _: None,
    ) -> None:
        """`knocked` hears the result of each test login; `thresholds` are those of the diagnosis."""
        self._own_connection, self._poller, _ = wiring
        self.automatic = wiring.automatic(config, dry_run=dry_run)
        self.diagnosis = DiagnosisWatch(self._own_connection, config.warn_at, thresholds)
        self.logins = LoginWatch(self._poller, config.login_probe_seconds, knocked)
        self.polled: Snapshot | Outage | None = None
        """The last poll; None before the first."""
        self._is_refused = False
        self._wakes: list[asyncio.TimerHandle] = []

    async def begin(self) -> None:
        """Connect and poll once; an outage that passes by itself is left to the polls that follow.

        Raises PgtopError where it cannot begin: a login that is refused, a pooler in between, hidden states.
        """
        try:
            await self._own_connection.take()
        except PgtopError as error:
            kind = OutageKind.FULL if isinstance(error, FullError) else getattr(error, "kind", "")
            if kind not in _PASSES:
                raise
            return
        if self._own_connection.pooled:
            raise pooler_error(self._own_connection.target.label)
        first = await self._poller.next()
        if isinstance(first, Snapshot) and not first.counts.exact:
            raise hidden_states_error(first)
        await self._ask_facts(first)
        self.polled = first

    async def poll(self) -> Snapshot | Outage:
        """Wait for the next poll; nothing is terminated by it, so that it may be given up."""
        polled = await self._poller.next()
        # Asked here, since it may wait for a login for as long as the target allows.
        self._is_refused = isinstance(polled, Snapshot) and await self.logins.settle(polled)
        if isinstance(polled, Snapshot):
            polled = with_unlisted(polled, self.logins.limit_here)
        self.polled = polled
        await self._ask_facts(polled)
        return polled

    async def _ask_facts(self, polled: Snapshot | Outage) -> None:
        """Ask for the facts of a diagnosis that are due; not through a pooler, where others may answer."""
        if isinstance(polled, Snapshot) and not self._own_connection.pooled:
            await self.diagnosis.ask(polled)

    def refuse_pooler(self) -> None:
        """Raise ConnectError where a pooler has come in between."""
        if self._own_connection.pooled:
            raise ConnectError("a pooler answers now: nothing is terminated", DIRECTLY)

    def diagnose(self, snapshot: Snapshot) -> tuple[Finding, ...]:
        """Return the findings of the last poll."""
        return self.diagnosis.take(snapshot, self.logins.limit_here)

    async def turn(self, snapshot: Snapshot, findings: tuple[Finding, ...]) -> Turn:
        """Do what the last poll asks for. Raises as `AutomaticReaper.turn` does."""
        turn = await self.automatic.turn(
            snapshot, refused=self._is_refused, refusing=self.logins.limit, findings=findings
        )
        if turn.report is not None:
            self.diagnosis.swept(turn.report.terminated)
            # A long interval shall not keep the rebound from being measured in time.
            loop = asyncio.get_running_loop()
            later = [loop.call_later(each, self._poller.wake) for each in (SOON_SECONDS, LATER_SECONDS)]
            self._wakes = [each for each in self._wakes if each.when() > loop.time()] + later
        return turn

    def close(self) -> None:
        """Leave nothing for later."""
        for each in self._wakes:
            each.cancel()
