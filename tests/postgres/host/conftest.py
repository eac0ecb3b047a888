"""A fixture of these tests: each begins once the sessions of those before it have left."""

import pytest


@pytest.fixture(autouse=True)
def _alone(no_other_sessions: None) -> None:
    """See `no_other_sessions`."""
