"""The screen before the first snapshot: the attempts, the limit that refuses them, and what helps.

Pure functions from an outage to lines of cells.
"""

from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS, STARTING
from pgtop.core.outage import Limit, Outage
from pgtop.core.text import cell_width, clip, duration, folded, plural, printable
from pgtop.postgres.host.watcher import HostView, logins_hint
from pgtop.reaping.plan_wording import ranked, user_and_database
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.outage import RESCUE_FAILS
from pgtop.tui.lines.plan_summary import few_lines, told

_HEADLINES: Final = {
    Limit.ROLE: "REFUSED by the role's own CONNECTION LIMIT: the server itself may have room",
    Limit.DATABASE: "REFUSED by the database's own CONNECTION LIMIT: the server itself may have room",
}
_FULL: Final = "FULL: no slot is left for this role"

_ROOM_FOR_PRIVILEGED: Final = {
    Limit.ORDINARY: (
        "connect as a superuser, or (PostgreSQL 16+) a member of pg_use_reserved_connections: -U or --rescue"
    ),
    Limit.RESERVED: "connect as a superuser: -U or --rescue",
    Limit.ROLE: "connect as another role, or as a superuser: -U or --rescue",
    Limit.DATABASE: "connect to another database (-d), or as a superuser (-U or --rescue)",
    Limit.UNKNOWN: "connect as a superuser, if a reserved slot is free: -U or --rescue",
}


class Awaited(NamedTuple):
    """The facts that are known while there is no snapshot yet."""

    target: str
    """The server, database and role that pgtop connects to, printable."""
    outage: Outage
    rescue: str = ""
    """The same for the rescue role, printable; "" if there is none."""
    on_host: bool = False
    """True if the server runs on this host, and its sessions can be terminated without a connection."""
    host_problem: str = ""
    """The reason why that cannot be done although the server runs here, printable."""
    view: HostView | None = None
    """The view from the host, if the server runs on it."""
    read_only: bool = False


def waiting_lines(awaited: Awaited, width: int, height: int) -> list[list[Cell]]:
    """Return the whole screen except its keys, in lines of at most `width` cells, the most needed first.

    The holders of the slots take what is left of `height` lines.
    """
    outage = awaited.outage
    limit = outage.limit
    lines: list[list[Cell]] = [[Cell(clip(f" {awaited.target}", width), "strong")]]
    if awaited.rescue:
        lines.append([Cell(clip(f" rescue: {awaited.rescue}", width), "dim")])
    lines.append([])
    if limit is None:
        return [*lines, *told(f"✗ {outage.message}", width, "red"), [], *told("retrying", width)]
    lines += told(_HEADLINES.get(limit, _FULL), width, "strong-red")
    if limit.is_the_servers:
        lines += told(str(limit), width)
    lines.append([])
    who = " for both roles" if awaited.rescue and not outage.rescue_problem else ""
    tried = (
        f"◌ {plural(outage.tries, 'try', 'tries')} refused{who} in {duration(outage.seconds)}, still trying"
    )
    lines += told(tried, width, "amber")
    if outage.rescue_problem:
        lines += told(f"✗ {RESCUE_FAILS}: {outage.rescue_problem}", width, "red")
    lines.append([])
    helps = _helps(awaited, limit, width)
    lines += [*([[Cell(" What helps", "title")]] if helps else []), *helps]
    holders = host_lines(awaited.view, width, height - len(lines) - 1) if awaited.view is not None else []
    return [*lines, [], *holders] if holders else lines


def _helps(awaited: Awaited, limit: Limit, width: int) -> list[list[Cell]]:
    found: list[tuple[str, str, str]] = []
    if awaited.on_host and not awaited.read_only:
        said = "terminate idle sessions from this host, no connection needed"
        found.append(("B", said, "screen.break_glass"))
    elif awaited.host_problem and limit.is_the_servers:
        found.append(("·", f"the server runs on this host, but {awaited.host_problem}", ""))
    elif not awaited.on_host and limit.is_the_servers:
        found.append(
            (
                "·",
                "on the server's own host: pgtop break-glass terminates idle sessions, no connection needed",
                "",
            )
        )
    if awaited.view is not None and limit.is_the_servers and (hint := logins_hint(awaited.view)):
        found.append(("·", hint, ""))
    if not awaited.rescue and limit in _ROOM_FOR_PRIVILEGED:
        found.append(("·", _ROOM_FOR_PRIVILEGED[limit], ""))
    if awaited.view is not None and awaited.view.connecting and limit.is_the_servers:
        number = plural(len(awaited.view.connecting), "client")
        said = (
            f"{number} still connecting: pgtop break-glass --stalled-logins 10s terminates the stalled ones"
        )
        found.append(("·", said, ""))
    if limit is Limit.CLIENTS:
        found.append(("·", "authentication_timeout drops clients that connect and send nothing", ""))
    if limit is Limit.ROLE:
        found.append(("·", "ALTER ROLE … CONNECTION LIMIT raises it", ""))
    if limit is Limit.DATABASE:
        found.append(("·", "ALTER DATABASE … CONNECTION LIMIT raises it", ""))
    lines: list[list[Cell]] = []
    for key, said, action in found:
        first, *rest = folded(said, max(1, width - 4))
        lines.append([Cell(f" {key}  ", "key", action), Cell(first, "", action)])
        lines += [[Cell(f"    {line}", "", action)] for line in rest]
    return lines


def connecting_lines(view: HostView | None, width: int, most: int) -> list[list[Cell]]:
    """Return the clients still connecting, as the server's own host shows them, in at most `most` lines."""
    clients = view.connecting if view is not None else ()
    if view is None or not clients or most < 1:
        return []
    now = view.snapshot.taken_at
    said = f"still connecting: {len(clients)}"
    for each in clients:
        age = duration((now - each.since) / MICROSECONDS)
        where = f"{each.address}:{each.port}" if each.address is not None else ""
        said += " · " + " ".join(filter(None, (str(each.pid), each.phase, each.names, where, age)))
        if cell_width(said) > width * most:
            break
    return [[Cell(f" {line}", "amber")] for line in few_lines(printable(said), width - 1, most)]


def host_lines(view: HostView, width: int, most: int) -> list[list[Cell]]:
    """Return the holders of the slots, as the server's own host shows them, in at most `most` lines."""
    snapshot = view.snapshot
    counts = snapshot.counts
    states = f"idle {counts.idle} · active {counts.active} · in transaction {counts.in_transaction}"
    held = f"{counts.total} of {plural(snapshot.slots, 'slot')} held" if view.has_limits else ""
    waiting = f"{snapshot.waiting_on_locks} waiting on locks" if snapshot.waiting_on_locks else ""
    standing = " · ".join(filter(None, (held, states, waiting)))
    holders = ranked(user_and_database(each) for each in snapshot.backends if each.state != STARTING)
    lines = [[Cell(" Seen from this host", "title")], [Cell(clip(f" {standing}", width))]]
    lines += [[Cell(f" {number:>5}  ", "strong"), Cell(clip(name, width - 8))] for name, number in holders]
    if len(lines) <= most:
        return lines
    rest = sum(number for _, number in holders[most - 3 :])
    return [*lines[: most - 1], [Cell(f" {rest:>5}  ", "strong"), Cell("others", "dim")]] if most > 3 else []
