"""The diagnosis of real servers, opened cold: each kind is told from real sessions, and no decoy is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pgtop.core.diagnosis.diagnose import is_said_beside
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.demo.server import ThrowawayServer
from pgtop.demo.workload import set_up
from tests.conftest import ServerFactory
from tests.core.diagnosis.real_decoys import DECOYS, Decoy
from tests.core.diagnosis.real_incidents import INCIDENTS, Incident
from tests.core.diagnosis.stage import SETTINGS, Stage, parameters_of

LOOKS = 3
"""The looks at each scene, all of which must be right."""
BETWEEN_LOOKS = 6.0
"""Seconds of the scene."""

RESTORED = (
    "ALTER DATABASE shop CONNECTION LIMIT -1",
    "ALTER ROLE postgres CONNECTION LIMIT -1",
    "ALTER SYSTEM RESET ALL",
    "SELECT pg_reload_conf()",
)
"""The statements that undo what a scene has set."""


@pytest.fixture(scope="module")
def stage_server(module_server_factory: ServerFactory) -> ThrowawayServer:
    """The server that the scenes share, one after the other."""
    server = module_server_factory(SETTINGS)
    asyncio.run(set_up(parameters_of(server)))
    return server


@asynccontextmanager
async def on(server: ThrowawayServer, faster: float) -> AsyncIterator[Stage]:
    """An empty stage, left empty again."""
    stage = Stage(server, faster)
    await stage.settle()
    try:
        yield stage
    finally:
        if await stage.ask("SELECT count(*) FROM pg_prepared_xacts"):
            await stage.ask("ROLLBACK PREPARED 'forgotten'")
        await stage.end()
        await stage.ask(*RESTORED)


async def looks(stage: Stage) -> list[tuple[Finding, ...]]:
    """What several looks at a scene say, each a diagnosis that saw nothing before."""
    found = []
    for _ in range(LOOKS):
        found.append(await stage.look())
        await stage.rest(BETWEEN_LOOKS)
    return found


def shown(findings: tuple[Finding, ...]) -> list[Finding]:
    """The findings that a screen shows: the heaviest, and the second if it is heavy enough."""
    return [each for nth, each in enumerate(findings) if nth == 0 or is_said_beside(findings[0], each)]


def words(findings: tuple[Finding, ...]) -> list[str]:
    """The findings to read where a test fails."""
    return [f"{each.kind} {each.slots}: {each.sentence}" for each in findings]


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda each: f"{each.kind}-{each.play.__name__}")
async def test_an_incident_is_told(stage_server: ThrowawayServer, incident: Incident) -> None:
    async with on(stage_server, incident.faster) as stage:
        await incident.play(stage)
        for found in await looks(stage):
            assert found
            assert found[0].kind is incident.kind, words(found)
            if incident.culprit is not None:
                assert found[0].application_name == incident.culprit, words(found)
            beside = {each.kind for each in shown(found)[1:]}
            assert beside <= incident.also, words(found)


@pytest.mark.parametrize("decoy", DECOYS, ids=lambda each: f"{each.looks_like}-{each.play.__name__}")
async def test_a_decoy_is_not_told(stage_server: ThrowawayServer, decoy: Decoy) -> None:
    async with on(stage_server, decoy.faster) as stage:
        await decoy.play(stage)
        for found in await looks(stage):
            blamed = {each.kind for each in shown(found) if each.grade is not Grade.MIXED}
            assert blamed <= decoy.truths, words(found)
            if decoy.looks_like is Kind.MIXED:
                assert not found, words(found)
