"""pgtop: see which sessions hold a PostgreSQL server's connections, and terminate exactly those."""

TYPE_CHECKING = False  # as type checkers take it; `typing` itself is not loaded for it
if TYPE_CHECKING:
    from pgtop.api import connect as connect  # what __getattr__ gives

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Return `connect` of `pgtop.api`; the start of a command shall not wait for the driver."""
    if name != "connect":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pgtop.api import connect

    return connect
