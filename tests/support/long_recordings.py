"""Long recordings of a busy server, made in little time."""

import random
from collections.abc import Iterator

import msgspec

from pgtop.core.activity import ACTIVE, IDLE, MICROSECONDS, Backend
from pgtop.core.recorded import Seen
from tests.builders import NOW, snapshot

STATEMENTS = tuple(
    f"SELECT {', '.join(f'column_{number}' for number in range(each % 7 + 1))} FROM table_{each} WHERE id = "
    for each in range(60)
)
"""What the applications run; each with another literal every time."""


def busy(sessions: int, polls: int, changing: float, every: float = 2.0, seed: int = 1) -> Iterator[Seen]:
    """Yield polls of so many sessions, of which a fraction changes from one to the next."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    now = NOW
    backends = [_new(chance, number, now) for number in range(sessions)]
    for _ in range(polls):
        now += round(every * MICROSECONDS) + chance.randrange(-3000, 3000)
        for place in chance.sample(range(sessions), round(sessions * changing)):
            old = backends[place]
            if chance.random() < 0.04:
                backends[place] = _new(chance, chance.randrange(1, 2**22), now)
            else:
                backends[place] = _changed(chance, old, now)
        taken = snapshot(*backends, taken_at=now, poll_seconds=chance.uniform(0.001, 0.02))
        yield Seen(now, taken, every)


def _new(chance: random.Random, number: int, now: int) -> Backend:
    start = now - chance.randrange(10**10)
    application = chance.randrange(12)
    fresh = Backend(
        pid=1000 + number,
        backend_start=start,
        state_change=start,
        xact_start=None,
        query_start=start,
        state=IDLE,
        application_name=f"service-{application}",
        usename=f"user_{application % 5}",
        datname=f"shop_{application % 3}",
        client_addr=f"10.0.{application}.{chance.randrange(4)}",
        client_port=chance.randrange(1024, 65_000),
        wait_event_type="Client",
        wait_event="ClientRead",
        is_superuser=False,
        query=None,
    )
    return _changed(chance, fresh, now)


def _changed(chance: random.Random, old: Backend, now: int) -> Backend:
    is_active = chance.random() < 0.4
    start = now - chance.randrange(10**6)
    return msgspec.structs.replace(
        old,
        state=ACTIVE if is_active else IDLE,
        query_start=start,
        xact_start=start if is_active else None,
        state_change=start + chance.randrange(500),
        wait_event_type=None if is_active else "Client",
        wait_event=None if is_active else "ClientRead",
        query=chance.choice(STATEMENTS) + str(chance.randrange(10**6)),
    )
