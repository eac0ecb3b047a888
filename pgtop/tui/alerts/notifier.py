"""The dashboard's reaction to an alert: it rings the bell once, and runs the command."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pgtop.core.activity import ConnectionLimit, Snapshot
from pgtop.core.alerts import Alert, Filling, Observation, Watch, filling, observe, watched
from pgtop.core.connection_limits import limit_uses, newly_reached, refusal_sentence
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.json_text import timestamp
from pgtop.core.outage import Limit, Outage
from pgtop.core.text import percent
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.lines.notice import Notice
from pgtop.tui.lines.outage import outage_sentence
from pgtop.tui.state.dashboard_state import DashboardState

if TYPE_CHECKING:
    from pgtop.tui.alerts.command_hook import AlertCommand

_WORDS: Final = {
    Alert.FULL: "FULL: new connections are refused",
    Alert.RECOVERED: "recovered",
    Alert.OUTAGE: "no answer from the server",
}


class AlertNotifier:
    """The watch for alerts in what the polls show."""

    def __init__(self, config: Config, server: str, seen: DashboardState, ring: Callable[[], None]) -> None:
        """`ring` rings the terminal's bell. Raises UsageError if the command cannot be found."""
        self.problem = ""
        """A problem with the command, printable, until it has been shown; "" for none."""
        self.on_alert: Callable[[Alert], None] = lambda _: None
        """Called with each alert."""
        self._warn_at = config.warn_at
        self._server = server
        self._seen = seen
        self._ring = ring if config.bell else None
        self._watch = Watch()
        self._filling = Filling()
        self._refusing: Limit | None = None
        self._reached_at: dict[ConnectionLimit, float] | None = None
        self._command = self._command_of(config.on_alert) if config.on_alert else None

    def _command_of(self, written: str) -> "AlertCommand":
        from pgtop.tui.alerts.command_hook import AlertCommand, command_words

        return AlertCommand(command_words(written), self._failed)

    def polled(
        self, result: Snapshot | Outage, refusing: Limit | None, forecast: Forecast | None = None
    ) -> Notice | None:
        """Take note of a poll; return an alert, or None.

        `refusing` is the limit that refuses new connections, `forecast` tells when the server is full.
        """
        self._refusing = refusing
        limit = self._limit_reached(result) if isinstance(result, Snapshot) else None
        alert, notice = self._step(observe(result, self._warn_at, refused=refusing is not None))
        soon = self._fills(result, alert, forecast)
        return notice or limit or soon

    def _fills(
        self, result: Snapshot | Outage, alert: Alert | None, forecast: Forecast | None
    ) -> Notice | None:
        """Alert to a server that is about to be full, once an episode."""
        now = time.monotonic()
        if isinstance(result, Outage) or forecast is None:
            self._filling, _ = filling(self._filling, None, 0.0, alert, now)
            return None
        seconds = forecast.seconds_from(result.taken_at)
        self._filling, begins = filling(self._filling, seconds, result.usage, alert, now)
        if not begins:
            return None
        said = forecast.words(result.taken_at)
        self._raise(Alert.FILLING, said)
        return Notice(f"filling: {said}", "alarm")

    def _limit_reached(self, snapshot: Snapshot) -> Notice | None:
        """Alert to CONNECTION LIMITs that were not reached before; those of the first poll are not alerts."""
        is_first = self._reached_at is None
        new, self._reached_at = newly_reached(limit_uses(snapshot), self._reached_at or {}, time.monotonic())
        if is_first or not new:
            return None
        said = refusal_sentence(new[0])
        self._raise(Alert.LIMIT, said)
        return Notice(said, "alarm")

    def tick(self) -> Notice | None:
        """Take note that a second has passed: an outage becomes an alert by its duration alone."""
        is_out = self._watch.out_since is not None and self._seen.outage is not None
        return self._step(Observation(None))[1] if is_out else None

    async def finish(self) -> None:
        """End a command that still runs."""
        if self._command is not None:
            await self._command.finish()

    def _failed(self, said: str) -> None:
        self.problem = said

    def _step(self, seen: Observation) -> tuple[Alert | None, Notice | None]:
        self._watch, alert = watched(self._watch, seen, time.monotonic())
        if alert is None:
            return None, None
        self._raise(alert, self._problem())
        said = _WORDS.get(alert, f"over the {percent(self._warn_at)} line")
        return alert, Notice(said, "note" if alert is Alert.RECOVERED else "alarm")

    def _problem(self) -> str:
        if self._seen.outage is not None:
            return outage_sentence(self._seen.outage)
        return str(self._refusing) if self._refusing is not None else ""

    def _raise(self, alert: Alert, problem: str) -> None:
        """Mark it in the graph, ring, and run the command."""
        self._seen.alerted(alert)
        self.on_alert(alert)
        if self._ring is not None:
            self._ring()
        if self._command is None:
            return
        from pgtop.tui.alerts.command_hook import Occasion

        occasion = Occasion(
            alert=alert,
            at=timestamp(time.time_ns() // 1_000),
            server=self._server,
            problem=problem,
            snapshot=self._seen.snapshot,
            warn_at=self._warn_at,
            findings=self._seen.findings,
        )
        self._command.hear(occasion)
