"""The errors of `pgtop.pool`; whatever else goes wrong is asyncpg's own error, as it is."""

from typing import Final

from pgtop.pool.report import PoolReport

LONGEST_LIST: Final = 8
"""Places that an error names; those that hold fewer connections are left out."""


class AcquireTimeoutError(TimeoutError):
    """No connection within the limit; the text names the places that hold those of the pool."""

    def __init__(self, name: str, seconds: float, report: PoolReport, reason: str) -> None:
        held = f"{report.held} of {report.max_size} are held"
        listed = [str(each) for each in report.by_place[:LONGEST_LIST]]
        left_out = len(report.by_place) - len(listed)
        if left_out:
            listed.append(f"{left_out} more places")
        places = f" by {', '.join(listed)}" if listed else ""
        why = f"; {reason}" if reason else ""
        super().__init__(f"no connection of {name} within {seconds:g} s: {held}{places}{why}")
        self.report = report
        """The pool at that moment."""


class PoolCreationError(ConnectionError):
    """A pool whose first connections could not be opened; asyncpg's own error is the cause."""


class DifferentLimitsError(ValueError):
    """Limits that differ from those of the pool that is there already."""
