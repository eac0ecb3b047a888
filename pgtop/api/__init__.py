"""pgtop for programs: the reaper as a module, with asyncio.

`connect` opens a server; `server` has what can be asked of it and done, `events` what a watch tells,
`settings` what may be set. It is a face like the dashboard: it shares the reaper, the audit log and the
refusals. It imports no command line and no screen, writes to no standard stream, sets no signal handler and
asks for no password.
"""

from typing import Final, Unpack

from pgtop.api.server import Server
from pgtop.api.settings import Settings, config_of, target_of
from pgtop.audit.log import Sink
from pgtop.errors import UsageError
from pgtop.wiring import wire

FACE: Final = "api"
"""The name in the audit log, and in the session's application_name: `pgtop api@<host>`."""


def connect(
    conninfo: str | None = None,
    *,
    read_only: bool = True,
    program: str | None = None,
    audit_stream: Sink | None = None,
    **settings: Unpack[Settings],
) -> Server:
    """Return a server to be used by `async with`, which connects and at its end gives the connection back.

    `conninfo` is a URI, `key=value` pairs or a database's name, and libpq's environment counts, as with psql.
    While `read_only`, plans are made and none is carried out. `program` is the operator's program, for the
    audit log. `audit_stream` takes the audit log in place of a file. The rest are the settings of the
    configuration, with its defaults; neither the file nor a PGTOP_ variable is read.

    Raises UsageError for a conninfo or a setting that cannot be understood.
    """
    if not isinstance(program, str | None):
        raise UsageError("program is not a text", "give the name of your program")
    config = config_of({**settings, "read_only": read_only}, has_stream=audit_stream is not None)
    target = target_of(conninfo, config.rescue)
    return Server(wire(target, config, FACE, audit_stream, program=program), config)
