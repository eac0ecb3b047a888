"""The cost of a diagnosis: the CPU of one snapshot's, with what was seen before it, in this process."""

import asyncio
import time
from statistics import median
from typing import Final

from pgtop.core.activity import Snapshot
from pgtop.demo.server import ThrowawayServer
from pgtop.diagnosis_watch import DiagnosisWatch
from pgtop.postgres.snapshot_probe import Probe
from tests.support.targets import connection_on, target_of

_POLLS: Final = 60


async def _measure(server: ThrowawayServer) -> float:
    async with connection_on(target_of(server, user="postgres"), "dashboard") as own_connection:
        probe, watch, taken = Probe(own_connection), DiagnosisWatch(own_connection, 0.8), []
        for _ in range(_POLLS):
            snapshot = await probe.snapshot()
            assert isinstance(snapshot, Snapshot)
            _ = snapshot.by_id  # the tables make it anyway
            begin = time.process_time()
            watch.take(snapshot, None)
            taken.append(time.process_time() - begin)
        return median(taken) * 1e3


def diagnosis_ms(server: ThrowawayServer) -> float:
    """Return the median CPU of a diagnosis of that server, in milliseconds."""
    return asyncio.run(_measure(server))
