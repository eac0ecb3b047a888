"""`python -m tests.bench.pool`: what `pgtop.pool` adds to a checkout, beside asyncpg's own pool.

Both pools are on one server in one run, A B A B, and a checkout is `async with pool.acquire()`. Prints the
processor time and the elapsed time of this process in µs for each checkout, without the reset that goes to
the server, with it, and with `tag_sites`: the medians, and the median of the ratios. Before that the record
alone: the place and the leak watch's entry, made and dropped, beside a checkout of asyncpg without reset.
"""

import asyncio
import statistics
import sys
import time
from typing import Any, NamedTuple

import asyncpg

from pgtop.demo.server import ThrowawayServer
from pgtop.pool import close_pool, get_pool
from pgtop.pool.checkouts import Checkouts
from pgtop.pool.places import calling_place
from tests.servers import default_binaries

ROUNDS = 15
CHECKOUTS = 1_000


class Cost(NamedTuple):
    """One checkout, in µs."""

    cpu: float
    elapsed: float


async def cost(pool: asyncpg.Pool) -> Cost:
    """Take a connection and give it back, many times."""
    elapsed, cpu = time.perf_counter(), time.process_time()
    for _ in range(CHECKOUTS):
        async with pool.acquire():
            pass
    cpu, elapsed = time.process_time() - cpu, time.perf_counter() - elapsed
    return Cost(cpu / CHECKOUTS * 1e6, elapsed / CHECKOUTS * 1e6)


async def no_reset(_connection: Any) -> None:
    """Leave a connection as it is."""


async def compared(plain: asyncpg.Pool, ours: asyncpg.Pool, label: str) -> None:
    """Print the two side by side."""
    pairs = [(await cost(plain), await cost(ours)) for _ in range(ROUNDS)]
    for kind in ("cpu", "elapsed"):
        values = [(getattr(one, kind), getattr(other, kind)) for one, other in pairs]
        own, more = (statistics.median(each) for each in zip(*values, strict=True))
        ratio = statistics.median(other / one for one, other in values)
        added = statistics.median(other - one for one, other in values)
        figures = f"asyncpg {own:7.1f} µs  pgtop.pool {more:7.1f} µs  +{added:.1f} µs  x{ratio:.2f}"
        sys.stdout.write(f"{label:24} {kind:8} {figures}\n")


async def record_alone(plain: asyncpg.Pool) -> None:
    """Print what the record of a checkout takes."""
    watch = Checkouts("", asyncio.get_running_loop(), 60.0, no_reset)
    async with plain.acquire() as inner:

        def record() -> None:
            watch.returned(watch.add(inner, calling_place()).checkout)

        pairs = []
        for _ in range(ROUNDS):
            cpu = time.process_time()
            for _ in range(CHECKOUTS):
                record()
            pairs.append(((time.process_time() - cpu) / CHECKOUTS * 1e6, (await cost(plain)).cpu))
    watch.stop()
    own, whole = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(each / other for each, other in pairs)
    sys.stdout.write(
        f"the record alone: {own:.1f} µs, x{ratio:.2f} of asyncpg's checkout of {whole:.1f} µs\n"
    )


async def main() -> None:
    """Measure on a server of its own."""
    with ThrowawayServer(default_binaries()) as server:
        uri = server.uri()
        async with asyncpg.create_pool(uri, min_size=1, max_size=10, reset=no_reset) as plain:
            await record_alone(plain)
        for label, reset, tag_sites in (
            ("without reset", no_reset, False),
            ("with reset", None, False),
            ("with reset, tag_sites", None, True),
        ):
            async with asyncpg.create_pool(
                uri, min_size=1, max_size=10, reset=reset, command_timeout=60
            ) as plain:
                ours = await get_pool(uri, reset=reset, tag_sites=tag_sites)
                await compared(plain, ours, label)
                await close_pool()


if __name__ == "__main__":
    asyncio.run(main())
