"""The libraries: what takes a connection, what gives it back, and what a `with` does to it."""

import re
from enum import Enum, StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """The kind of thing that is held."""

    CONNECTION = "connection"
    POOLED = "pooled connection"
    SESSION = "session"
    POOL = "pool"
    ENGINE = "engine"
    FACTORY = "session factory"
    SCOPED = "scoped session"


class With(Enum):
    """The effect of leaving a `with` block on what was taken."""

    CLOSES = "closes"
    COMMITS = "commits"
    """It ends the transaction and leaves the connection open (psycopg2)."""
    KEEPS_SLOT = "keeps the slot"
    """It ends the transaction or closes the connection, and the pool never gets it back (`getconn`)."""
    UNSUPPORTED = "unsupported"
    """It is not a context manager."""


class Handle(NamedTuple):
    """Something that is taken and must be given back."""

    kind: Kind
    library: str
    leaving: With
    """The effect of a `with` on it."""
    taken_by: str
    """The call that takes it, as a message writes it, such as `asyncpg.connect()`."""
    is_owned: bool = True
    """False for what is shared: whoever gets it must not close it."""
    is_bound: bool = False
    """True for a session factory whose sessions use a connection that somebody else holds."""

    @property
    def must_be_closed(self) -> bool:
        """Return whether whoever has it must give it back."""
        return self.is_owned and self.kind in _MUST_BE_CLOSED


SESSIONS: Final = frozenset({Kind.CONNECTION, Kind.POOLED, Kind.SESSION})
"""The kinds that hold a session of the server each."""
_MUST_BE_CLOSED: Final = SESSIONS | {Kind.POOL}


def _handle(kind: Kind, library: str, leaving: With, taken_by: str) -> Handle:
    return Handle(kind, library, leaving, f"{taken_by}()")


CALLS: Final[dict[str, Handle]] = {
    name: _handle(kind, name.split(".", maxsplit=1)[0], leaving, name)
    for names, kind, leaving in (
        ("asyncpg.connect asyncpg.connection.connect", Kind.CONNECTION, With.UNSUPPORTED),
        ("asyncpg.create_pool asyncpg.pool.create_pool", Kind.POOL, With.CLOSES),
        ("psycopg2.connect", Kind.CONNECTION, With.COMMITS),
        (
            (
                "psycopg2.pool.SimpleConnectionPool psycopg2.pool.ThreadedConnectionPool "
                "psycopg2.pool.PersistentConnectionPool"
            ),
            Kind.POOL,
            With.UNSUPPORTED,
        ),
        (
            (
                "psycopg.connect psycopg.Connection.connect psycopg.AsyncConnection.connect "
                "psycopg.connection.Connection.connect"
            ),
            Kind.CONNECTION,
            With.CLOSES,
        ),
        (
            (
                "psycopg_pool.ConnectionPool psycopg_pool.AsyncConnectionPool "
                "psycopg_pool.NullConnectionPool psycopg_pool.AsyncNullConnectionPool "
                "psycopg_pool.pool.ConnectionPool"
            ),
            Kind.POOL,
            With.CLOSES,
        ),
        ("aiopg.connect", Kind.CONNECTION, With.CLOSES),
        ("aiopg.create_pool aiopg.sa.create_engine aiopg.sa.engine.create_engine", Kind.POOL, With.CLOSES),
        (
            "sqlalchemy.create_engine sqlalchemy.engine.create_engine sqlalchemy.engine_from_config",
            Kind.ENGINE,
            With.UNSUPPORTED,
        ),
        (
            (
                "sqlalchemy.ext.asyncio.create_async_engine "
                "sqlalchemy.ext.asyncio.engine.create_async_engine "
                "sqlalchemy.ext.asyncio.async_engine_from_config"
            ),
            Kind.ENGINE,
            With.UNSUPPORTED,
        ),
        ("sqlalchemy.orm.sessionmaker sqlalchemy.orm.session.sessionmaker", Kind.FACTORY, With.UNSUPPORTED),
        ("sqlalchemy.ext.asyncio.async_sessionmaker", Kind.FACTORY, With.UNSUPPORTED),
        (
            "sqlalchemy.orm.scoped_session sqlalchemy.ext.asyncio.async_scoped_session",
            Kind.SCOPED,
            With.UNSUPPORTED,
        ),
        ("sqlalchemy.orm.Session sqlalchemy.orm.session.Session", Kind.SESSION, With.CLOSES),
        ("sqlalchemy.ext.asyncio.AsyncSession", Kind.SESSION, With.CLOSES),
        ("sqlmodel.Session sqlmodel.ext.asyncio.session.AsyncSession", Kind.SESSION, With.CLOSES),
        ("sqlmodel.create_engine", Kind.ENGINE, With.UNSUPPORTED),
        ("databases.Database databases.core.Database", Kind.POOL, With.CLOSES),
        ("django.db.connections.create_connection", Kind.CONNECTION, With.CLOSES),
        ("django.db.connection.copy", Kind.CONNECTION, With.CLOSES),
    )
    for name in names.split()
}
"""The things that the functions of the libraries give, by their full names."""

ANNOTATIONS: Final[dict[str, str]] = {
    "asyncpg.Pool": "asyncpg.create_pool",
    "asyncpg.pool.Pool": "asyncpg.create_pool",
    "aiopg.Pool": "aiopg.create_pool",
    "aiopg.pool.Pool": "aiopg.create_pool",
    "aiopg.sa.Engine": "aiopg.sa.create_engine",
    "psycopg_pool.ConnectionPool": "psycopg_pool.ConnectionPool",
    "psycopg_pool.AsyncConnectionPool": "psycopg_pool.AsyncConnectionPool",
    "psycopg2.pool.SimpleConnectionPool": "psycopg2.pool.SimpleConnectionPool",
    "psycopg2.pool.ThreadedConnectionPool": "psycopg2.pool.ThreadedConnectionPool",
    "psycopg2.pool.AbstractConnectionPool": "psycopg2.pool.SimpleConnectionPool",
    "sqlalchemy.Engine": "sqlalchemy.create_engine",
    "sqlalchemy.engine.Engine": "sqlalchemy.create_engine",
    "sqlalchemy.engine.base.Engine": "sqlalchemy.create_engine",
    "sqlalchemy.ext.asyncio.AsyncEngine": "sqlalchemy.ext.asyncio.create_async_engine",
    "sqlalchemy.orm.sessionmaker": "sqlalchemy.orm.sessionmaker",
    "sqlalchemy.ext.asyncio.async_sessionmaker": "sqlalchemy.ext.asyncio.async_sessionmaker",
}
"""The type of an annotation, as the call that makes one."""

_ACQUIRE: Final = (Kind.POOLED, With.CLOSES)
_GETCONN: Final = (Kind.POOLED, With.KEEPS_SLOT)
_CONNECT: Final = (Kind.CONNECTION, With.CLOSES)

METHODS: Final[dict[tuple[Kind, str, str], tuple[Kind, With]]] = {
    (Kind.POOL, "asyncpg", "acquire"): _ACQUIRE,
    (Kind.POOL, "aiopg", "acquire"): _ACQUIRE,
    (Kind.POOL, "psycopg2", "getconn"): _GETCONN,
    (Kind.POOL, "psycopg_pool", "getconn"): _GETCONN,
    (Kind.ENGINE, "sqlalchemy", "connect"): _CONNECT,
    (Kind.ENGINE, "sqlalchemy", "raw_connection"): (Kind.CONNECTION, With.UNSUPPORTED),
    (Kind.ENGINE, "sqlmodel", "connect"): _CONNECT,
    (Kind.ENGINE, "sqlmodel", "raw_connection"): (Kind.CONNECTION, With.UNSUPPORTED),
    (Kind.FACTORY, "sqlalchemy", "__call__"): (Kind.SESSION, With.CLOSES),
}
"""The thing that a method gives, by the kind and library of what it is called on."""


class Guess(NamedTuple):
    """The thing that a method gives where the type of its receiver is not known."""

    words: tuple[str, ...]
    """The receiver's name holds one of these."""
    kind: Kind
    leaving: With
    drivers: frozenset[str] = frozenset()
    """The project imports one of these packages; any project does if there are none."""
    is_bare: bool = False
    """True if it holds only for a call without arguments."""


GUESSED: Final[dict[str, tuple[Guess, ...]]] = {
    "acquire": (
        Guess(("pool",), Kind.POOLED, With.CLOSES, frozenset({"asyncpg", "aiopg"})),
        Guess(("engine",), Kind.POOLED, With.CLOSES, frozenset({"aiopg"})),
    ),
    "getconn": (Guess(("pool",), Kind.POOLED, With.KEEPS_SLOT),),
    "raw_connection": (Guess(("engine", "bind"), Kind.CONNECTION, With.UNSUPPORTED),),
    "connect": (
        Guess(
            ("engine",),
            Kind.CONNECTION,
            With.CLOSES,
            frozenset({"sqlalchemy", "sqlmodel", "psycopg2"}),
            is_bare=True,
        ),
        Guess(("dbapi", "module"), Kind.CONNECTION, With.COMMITS, frozenset({"psycopg2"})),
    ),
}
"""The guesses, by the method's name."""
SESSION_FACTORY: Final = re.compile(
    r"(?!get|make|create|init|build|set)\w*session\w*(?:maker|factory|local)", re.IGNORECASE
)
"""The name of what makes a session when it is called, where its type is not known."""
OF_A_CONNECTION: Final = frozenset({"connection", "conn", "con", "get_bind", "get_bind_connection"})
"""The names of a connection that a session is told to use, and of the calls that give one."""

CLOSING_METHODS: Final = frozenset(
    {
        "close", "aclose", "release", "terminate", "dispose", "closeall", "disconnect", "close_all", "remove",
        "putconn", "expire_connections", "invalidate", "detach", "wait_closed", "__exit__", "__aexit__",
    }
)  # fmt: skip
"""The methods by which a thing is given back."""
BOUNDED: Final = frozenset({"asyncio.wait_for", "asyncio.shield"})
"""The functions that give what the awaitable in their first argument gives."""
FLUENT: Final = frozenset({"execution_options"})
"""The methods of a connection that give the connection itself."""
TAKING_BACK: Final = frozenset({"release", "putconn", "_release", "put_conn", "release_connection"})
"""The methods that a pool has for it: the connection is their argument."""
ENTERING: Final = frozenset(
    {"closing", "aclosing", "enter_context", "enter_async_context", "push", "push_async_exit", "nullcontext"}
)
"""The functions that a thing is given to so that it is closed at the end of a block."""
CALLBACKS: Final = frozenset(
    {
        "callback", "push_async_callback", "register", "addfinalizer", "addCleanup", "addAsyncCleanup",
        "finalize",
        "add_done_callback", "call_later", "call_soon", "shield", "create_task", "ensure_future", "gather",
        "wait_for", "run_in_executor", "to_thread", "add_task", "partial", "on_exit", "defer",
    }
)  # fmt: skip
"""The functions that get a `close` of it to call later."""

ONLY_LOOKED_AT: Final = frozenset(
    {
        "print", "len", "str", "repr", "id", "isinstance", "issubclass", "type", "bool", "hasattr", "getattr",
        "callable", "hash", "format", "vars", "dir", "iter", "all", "any", "debug", "info", "warning",
        "error", "exception",
        "read_sql", "read_sql_query", "read_sql_table", "to_sql", "execute_values",
        "execute_batch", "register_hstore", "register_uuid", "register_json",
        "register_default_json", "register_adapter",
        "register_type", "register_vector", "register_composite", "text", "wait_select", "inspect",
        "Inspector",
        "quote_ident", "as_string", "create_all", "drop_all", "reflect",
    }
)  # fmt: skip
"""The functions of others that use a connection during the call and keep nothing of it."""

_HTTP: Final = "get post put patch delete head options request send stream"
NETWORK_CALLS: Final = frozenset(
    {
        "time.sleep", "asyncio.sleep", "trio.sleep", "anyio.sleep", "urllib.request.urlopen",
        "subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output",
        "subprocess.getoutput", "os.system", "asyncio.create_subprocess_exec",
        "asyncio.create_subprocess_shell",
        *(f"{module}.{name}" for module in ("requests", "httpx") for name in _HTTP.split()),
    }
)  # fmt: skip
"""The calls that wait for somebody else, by their full names."""
NETWORK_CLIENTS: Final = frozenset(
    {
        "requests.Session", "requests.session", "httpx.Client", "httpx.AsyncClient", "aiohttp.ClientSession",
        "urllib3.PoolManager", "smtplib.SMTP", "smtplib.SMTP_SSL",
    }
)  # fmt: skip
"""The clients whose methods wait for somebody else."""
NETWORK_METHODS: Final = frozenset({*_HTTP.split(), "urlopen", "sendmail", "send_message", "ws_connect"})
DRIVERS: Final = frozenset(
    {
        "asyncpg",
        "psycopg2",
        "psycopg",
        "psycopg_pool",
        "sqlalchemy",
        "sqlmodel",
        "aiopg",
        "databases",
        "django",
    }
)
"""The packages whose connections are followed."""
