"""Sessions whose statements nobody may see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from pgtop.demo.server import ThrowawayServer
from tests.servers import session

SECRET = "hush-3141"  # noqa: S105 - of a statement


@asynccontextmanager
async def secretive(server: ThrowawayServer) -> AsyncIterator[dict[str, asyncpg.Connection]]:
    """Sessions in every state, each with the secret in its statement."""
    async with (
        session(server, application_name="web") as idle,
        session(server, application_name="web") as in_transaction,
        session(server, application_name="web") as active,
        session(server, application_name="web") as failed,
        session(server, application_name="web") as listener,
    ):
        await idle.execute(f"SELECT '{SECRET}'")
        await in_transaction.execute(f"BEGIN; SELECT '{SECRET}'")
        with suppress(asyncpg.PostgresError):
            await failed.execute(f"SELECT '{SECRET}' FROM nothing")
        await listener.execute(f'LISTEN "{SECRET}"')
        running = asyncio.create_task(active.execute(f"SELECT pg_sleep(600), '{SECRET}'"))
        yield {"idle": idle, "active": active, "listener": listener}
        running.cancel()
        with suppress(asyncio.CancelledError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await running
