"""The scenario `tools`: people who open their tools in the morning and leave them open."""

import asyncio

from pgtop.demo import schema
from pgtop.demo.clients import GONE, Clients, between, browse, hosts, rest

_SHARE = 0.8
NAMES = (
    ("DBeaver 24.1.0 - Main", "DBeaver 24.1.0 - Metadata", "DBeaver 24.1.0 - SQLEditor <Script.sql>"),
    ("pgAdmin 4 - DB:shop", "pgAdmin 4 - CONN:4180021", "pgAdmin 4 - CONN:7321908"),
    ("DataGrip 2024.2", "DataGrip 2024.2", "psql"),
)
"""The sessions that one person has, by tool."""
_FOREVER = 86_400.0
_AT_WORK_SECONDS = 8.0
_AWAY_SECONDS = (60.0, 240.0)


async def play(clients: Clients) -> None:
    """Let people look at a table and go to lunch; the shop itself needs few sessions.

    Nothing runs in the sessions of the tools, and none of them is closed. Those that are terminated are
    opened again minutes later, by whoever comes back.
    """
    people = max(2, int(_SHARE * clients.parameters.slots / len(NAMES[0])))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients.parameters.web_sessions // 2):
            tasks.create_task(clients.keep("web", "web", browse))
        for nth, host in enumerate(hosts(min(people, 250))):
            role = schema.PEOPLE[nth % len(schema.PEOPLE)]
            for name in NAMES[nth % len(NAMES)]:
                tasks.create_task(_use(clients, name, role, host))


async def _use(clients: Clients, name: str, role: str, host: str) -> None:
    while True:
        try:
            connection = await clients.open(name, role, host)
            try:
                await rest(connection, between(0, _AT_WORK_SECONDS))
                await connection.execute(schema.LOOK)
                await rest(connection, _FOREVER)
            finally:
                connection.terminate()
        except GONE:
            await asyncio.sleep(between(*_AWAY_SECONDS))
