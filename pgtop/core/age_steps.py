"""The idle ages that a person steps through in a sweep's dialog."""

from typing import Final

LEAST_SECONDS: Final = 10.0
"""The shortest idle age that a key asks for: below it, most idle sessions are only between two queries."""

STEPS_SECONDS: Final = (
    *(LEAST_SECONDS, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0),
    *(3600.0, 2 * 3600.0, 6 * 3600.0, 12 * 3600.0, 86_400.0),
)
"""The ages to choose from, besides the configured one."""


def next_age(seconds: float, by: int, configured_seconds: float) -> float:
    """Return the next longer age (`by` above 0) or the next shorter one; the same at the end of the steps.

    The configured age is one of the steps, and the only one that may be below LEAST_SECONDS.

    >>> next_age(300.0, 1, 300.0), next_age(300.0, -1, 300.0), next_age(10.0, -1, 300.0)
    (600.0, 120.0, 10.0)
    >>> next_age(10.0, -1, 5.0), next_age(5.0, -1, 5.0), next_age(45.0, -1, 45.0)
    (5.0, 5.0, 30.0)
    """
    steps = sorted({*STEPS_SECONDS, configured_seconds})
    if by > 0:
        return next((step for step in steps if step > seconds), seconds)
    return next((step for step in reversed(steps) if step < seconds), seconds)
