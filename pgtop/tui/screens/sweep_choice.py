"""The choices of a sweep that keys in its dialog change."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from pgtop.core.plan import Plan, Scope

CHANGING_KEYS: Final = frozenset({"a", "e", "i", "c", "plus", "equals_sign", "minus"})
"""The keys that change what a plan's dialog shows, and confirm nothing."""


class SweepChoice(NamedTuple):
    """The choices of a sweep that keys in its dialog change."""

    emergency: bool
    """True for just enough sessions to come below the line, False for all stale ones."""
    in_transaction: bool
    """True to include sessions idle in transaction."""
    scope: Scope | None
    """The list to choose from; None for all sessions."""
    idle_after_seconds: float
    """The idle age above which a session is stale."""
    emergency_idle_after_seconds: float
    """The same in an emergency's plan."""

    @property
    def age_seconds(self) -> float:
        """The idle age that the plan asks for."""
        return self.emergency_idle_after_seconds if self.emergency else self.idle_after_seconds

    def with_age(self, seconds: float) -> "SweepChoice":
        """Return the choice with another idle age for the plan that it stands for."""
        if self.emergency:
            return self._replace(emergency_idle_after_seconds=seconds)
        return self._replace(idle_after_seconds=seconds)


class Replan(NamedTuple):
    """The way to make other plans from the same snapshot."""

    first: SweepChoice
    """The choice that the dialog opens with."""
    plan_for: Callable[[SweepChoice], Coroutine[Any, Any, Plan]]
