"""No pool outlives its test."""

from collections.abc import AsyncIterator

import pytest

from pgtop.pool import close_pool, reset


@pytest.fixture(autouse=True)
async def _no_pool_is_left() -> AsyncIterator[None]:
    yield
    await close_pool(timeout=0)
    reset()
