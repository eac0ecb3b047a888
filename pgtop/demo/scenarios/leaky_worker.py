"""The worker that leaks: three jobs, written as such code is found. The manual's walk leads to them."""

from pgtop.demo.clients import Clients

APPLICATION = "leaky-worker"
ROLE = "worker"


async def take_job(clients: Clients) -> None:
    """Take the next job of the queue."""
    connection = await clients.open(APPLICATION, ROLE)
    await connection.execute(
        "SELECT id, kind FROM jobs WHERE state = 'queued' ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED"
    )


async def try_again(clients: Clients) -> None:
    """Count one more attempt of a job."""
    connection = await clients.open(APPLICATION, ROLE)
    await connection.execute(
        "UPDATE jobs SET attempts = attempts + 1 WHERE id = (SELECT 2 + floor(random() * 290)::int)"
    )


async def count_due(clients: Clients) -> None:
    """Count the jobs that are due."""
    connection = await clients.open(APPLICATION, ROLE)
    await connection.execute("SELECT count(*) FROM jobs WHERE state = 'queued' AND run_at < now()")


JOBS = (take_job, try_again, count_due)
