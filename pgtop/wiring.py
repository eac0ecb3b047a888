"""The parts that every face on a server needs, put together in one place."""

from typing import NamedTuple

import pgtop.core.password_search  # noqa: F401 - an error may come when no file can be opened any more
from pgtop.audit.log import Sink
from pgtop.poller import Poller
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.snapshot_probe import Probe
from pgtop.postgres.terminate import SqlTerminator
from pgtop.reaping.automatic import AutomaticReaper
from pgtop.reaping.reaper import Reaper
from pgtop.settings.defaults_and_bounds import Config


class Wiring(NamedTuple):
    """One connection with what polls over it and what terminates sessions through it."""

    own_connection: OwnConnection
    poller: Poller
    reaper: Reaper

    def automatic(self, config: Config, *, dry_run: bool = False) -> AutomaticReaper:
        """Return the reaper that sweeps automatically."""
        return AutomaticReaper(
            self.reaper,
            self.own_connection,
            config.policy,
            config.every_seconds,
            interval_seconds=config.interval_seconds,
            only=config.findings,
            dry_run=dry_run,
        )


def wire(
    target: Target,
    config: Config,
    face: str,
    audit_stream: Sink | None = None,
    *,
    program: str | None = None,
) -> Wiring:
    """Return the parts of a face; nothing connects yet.

    `face` names them to the server and in the audit log. `audit_stream` takes the audit log if no file is
    configured; standard error by default. `program` is the name of a program that acts through pgtop.
    """
    own_connection = OwnConnection(target, face, hides_queries=config.hide_queries)
    poller = Poller(Probe(own_connection), config.interval_seconds)
    terminator = SqlTerminator(own_connection)
    reaper = Reaper.configured(terminator, config, face, audit_stream, program=program)
    return Wiring(own_connection, poller, reaper)
