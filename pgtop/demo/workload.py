"""The demo's workload: sets up the shop, and plays a scenario of real sessions on it.

It runs as a process of its own (`python -m pgtop.demo.workload`). Its parameters are the first line of its
stdin, as JSON; it prints `ready` once the shop is set up, and ends when its stdin does.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

import asyncpg
import msgspec

from pgtop.demo import schema
from pgtop.demo.clients import CONNECT_SECONDS, Clients
from pgtop.demo.parameters import Parameters
from pgtop.demo.scenarios import (
    deploy,
    leak,
    limit,
    locks,
    pools,
    silent,
    slow,
    storm,
    tools,
    transactions,
)

PLAYS: Final[Mapping[str, Callable[[Clients], Awaitable[None]]]] = MappingProxyType(
    {
        "leak": leak.play,
        "pools": pools.play,
        "deploy": deploy.play,
        "locks": locks.play,
        "transactions": transactions.play,
        "slow": slow.play,
        "silent": silent.play,
        "limit": limit.play,
        "storm": storm.play,
        "tools": tools.play,
    }
)
"""The function that plays each scenario, by its name."""


async def set_up(parameters: Parameters) -> None:
    """Create roles, database and tables."""
    admin = await _as_superuser(parameters, None)
    try:
        for statement in schema.role_statements(parameters.password, parameters.version):
            await admin.execute(statement)
        await admin.execute(f"CREATE DATABASE {schema.DATABASE}")
    finally:
        await admin.close()
    owner = await _as_superuser(parameters, schema.DATABASE)
    try:
        await owner.execute(schema.TABLES)
    finally:
        await owner.close()


async def _as_superuser(parameters: Parameters, database: str | None) -> asyncpg.Connection:
    return await asyncpg.connect(
        parameters.admin_uri,
        database=database,
        # The socket asks for no password. A server that another user put in its place is told this one, which
        # opens nothing else, and not one that the driver would find in the environment or a password file.
        password=parameters.admin_password,
        passfile=os.devnull,
        ssl=False,
        timeout=CONNECT_SECONDS,
    )


def end_with_stdin() -> None:
    """End this process as soon as its parent ends, whatever it is doing."""
    sys.stdin.buffer.read()
    os._exit(0)


async def work(parameters: Parameters) -> None:
    """Set up the shop, print `ready`, and play the scenario."""
    await set_up(parameters)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await PLAYS[parameters.scenario](Clients(parameters))


def main() -> None:
    """Run the workload until stdin ends."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the parent in the terminal, which ends this process
    parameters = msgspec.json.decode(sys.stdin.buffer.readline(), type=Parameters)
    threading.Thread(target=end_with_stdin, daemon=True).start()
    asyncio.run(work(parameters))


if __name__ == "__main__":
    main()
