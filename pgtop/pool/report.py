"""A pool at one moment: counts, and the places in the code that hold its connections."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlaceReport:
    """The connections that one place in the code holds."""

    place: str
    """File and line that took them, relative to the working directory if below it: `app/worker.py:41`."""
    count: int
    oldest: float
    """Seconds since it took the first of them."""

    def __str__(self) -> str:
        return f"{self.place} ({self.count}, for up to {self.oldest:.0f} s)"


@dataclass(frozen=True, slots=True)
class PoolReport:
    """A pool at one moment."""

    max_size: int
    """Connections that the pool may have."""
    held: int
    """Connections that were taken and not given back."""
    idle: int
    """Open connections that no one holds."""
    waiting: int
    """Callers that wait for a connection."""
    oldest: float
    """Seconds since the longest held connection was taken; 0 if none is held."""
    by_place: tuple[PlaceReport, ...]
    """Those that are held by the place that took them, the most first."""
