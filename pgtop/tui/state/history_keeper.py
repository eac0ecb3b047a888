"""The link to the recorded past: the dashboard goes on with what another pgtop recorded before."""

import asyncio
from collections.abc import Callable

from pgtop.concurrency import unawaited_at_exit
from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.diagnosis.over_time import DiagnosisOverTime
from pgtop.core.recorded import Seen
from pgtop.core.sample_history import History
from pgtop.core.session_groups import GROUP_EVERY_SECONDS, GROUP_SPAN_SECONDS
from pgtop.diagnosis_watch import DiagnosisWatch
from pgtop.errors import HistoryError
from pgtop.flight_recorder import FlightRecorder
from pgtop.tui.state.dashboard_state import DashboardState


class HistoryKeeper:
    """The earlier past of what a dashboard sees, loaded once for each cluster that answers."""

    def __init__(self, recorder: FlightRecorder, seen: DashboardState, diagnosis: DiagnosisWatch) -> None:
        self.is_keeping = False
        """True once the past of the present history was looked for."""
        self._recorder = recorder
        self._seen = seen
        self._diagnosis = diagnosis
        self._tried: History | None = None
        self._is_new = asyncio.Event()

    def polled(self) -> None:
        """Take note of a poll; the first one of a history has its past loaded at once."""
        history = self._seen.history
        if history is not self._tried and history.latest is not None:
            self.is_keeping = False
            self._is_new.set()

    async def run(self, taken_up: Callable[[], None]) -> None:
        """Load the past of each new history; call `taken_up` when there is an earlier past to show."""
        while True:
            await self._is_new.wait()
            self._is_new.clear()
            try:
                await self._take_up(taken_up)
            except HistoryError as error:
                self._recorder.tell(str(error))

    async def _take_up(self, taken_up: Callable[[], None]) -> None:
        history, snapshot = self._seen.history, self._seen.snapshot
        if snapshot is None or history.latest is None:
            return
        self._tried = history
        first, cluster = history.began_at, self._seen.cluster or ""
        past = await self._recorder.past(cluster, first)
        if past is not None:
            history.put_before(past, self._seen.interval_seconds)
        earlier = await self._recorder.earlier_polls(first, GROUP_SPAN_SECONDS, GROUP_EVERY_SECONDS)
        same = [each for each in earlier if _is_of(each, snapshot)]
        if same:
            before = await unawaited_at_exit(lambda: self._diagnosed(same))
            if history is self._seen.history:
                self._diagnosis.continue_from(before)
                self._seen.put_groups_before(
                    [each.result for each in same if isinstance(each.result, Snapshot)]
                )
        self.is_keeping = True
        if past is not None and history is self._seen.history:
            taken_up()

    def _diagnosed(self, earlier: list[Seen]) -> DiagnosisOverTime:
        """Return a diagnosis that has seen earlier polls."""
        diagnosis = DiagnosisOverTime(self._diagnosis.warn_at, self._diagnosis.thresholds)
        for each in earlier:
            if isinstance(each.result, Snapshot):
                diagnosis.take(each.result, each.facts)
        return diagnosis


def _is_of(seen: Seen, snapshot: Snapshot) -> bool:
    """Return whether a recorded poll saw the same server as a snapshot, before its clock."""
    return (
        isinstance(seen.result, Snapshot)
        and seen.result.server.identity == snapshot.server.identity
        and seen.at + MICROSECONDS // 2 < snapshot.taken_at
    )
