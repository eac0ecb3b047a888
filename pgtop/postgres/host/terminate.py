"""The host's hand: how the reaper reaches a server's sessions without a slot, by SIGTERM.

That is the signal that pg_terminate_backend sends. It goes through a descriptor of the process, so that a pid
that was given to another process meanwhile is never hit, and only when the process, looked at again through
that time, still is the session that was planned, idle, and was sent nothing since. A client that is stalled
in its login has to be in the same phase of it still, and not at work. Never SIGKILL, which would restart the
whole server.

Nothing is kept open between the signal and the confirmation, so that any number of victims needs no more file
descriptors than one.

`HostTerminator(watcher)` is a `Terminator`; the plan has to be made from the watcher's last look.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from pgtop.core.activity import IDLE, IN_TRANSACTION, STARTING, Backend, BackendId
from pgtop.core.plan import Act, HeldLocks, Outcome, Plan, Result, Victim
from pgtop.core.text import printable
from pgtop.errors import PgtopError, UsageError
from pgtop.postgres.host import proc, sockets
from pgtop.postgres.host.servers import ClosedError
from pgtop.postgres.host.titles import may_be_walsender, read_title
from pgtop.postgres.host.watcher import SENT_TOLERANCE_MICROSECONDS, HostWatcher, Mark, takes_usr2

_AT_REST: Final = IN_TRANSACTION | {IDLE}
"""The states in which a session may be terminated; each is the activity of its title, too."""


class HostTerminator:
    """Reach the sessions of a server of this host."""

    def __init__(self, watcher: HostWatcher) -> None:
        self._watcher = watcher

    async def held_locks(self) -> HeldLocks:
        """None: advisory locks are not seen from the host."""
        return HeldLocks()

    async def blocking_pids(self) -> None:
        """None: a title tells that a session waits, and not for which one."""

    async def termination(self, plan: Plan) -> "HostTermination":
        """Prepare to signal a plan's victims. Raises PgtopError for what only the server itself can do."""
        if plan.act is not Act.TERMINATE:
            raise PgtopError("queries cannot be cancelled from the host", "terminate the session")
        return HostTermination(self._watcher, plan)

    def check_rights(self, plan: Plan) -> None:
        """Raise NotPermittedError where this user may not signal them, UsageError on an old kernel."""
        for victim in plan.victims[:1]:
            try:
                descriptor = os.pidfd_open(victim.backend.pid)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise UsageError(
                    f"this kernel cannot signal a process safely ({error.strerror})",
                    "Linux 5.3 or newer is needed",
                ) from error
            try:
                signal.pidfd_send_signal(descriptor, 0)
            except PermissionError as error:
                raise ClosedError(self._watcher.server.uid) from error
            except ProcessLookupError:
                pass
            finally:
                os.close(descriptor)


class HostTermination:
    """The hand on one plan's victims; remembers when the process of each that was signalled began."""

    def __init__(self, watcher: HostWatcher, plan: Plan) -> None:
        self._watcher = watcher
        self._signalled: dict[BackendId, int] = {}
        self.blocked: Mapping[BackendId, int] = {
            each.backend.id: each.blocked_sessions
            for each in plan.victims
            if each.blocked_sessions is not None
        }
        """None of them where no session waits; a title does not tell for which one a session waits."""

    @property
    def queries(self) -> Mapping[BackendId, str]:
        """None: no title has the statement."""
        return {}

    role: str | None = None
    """No role of the server's acts here."""
    is_rescue = False

    async def signal(self, victim: Victim) -> Result | None:
        """Look again and signal; None where the signal was sent and is yet to be confirmed."""
        return await asyncio.to_thread(self._signal, victim)

    def _signal(self, victim: Victim) -> Result | None:
        backend = victim.backend
        try:
            descriptor = os.pidfd_open(backend.pid)
        except ProcessLookupError:
            return Result(victim, Outcome.CHANGED, "it had just disconnected")
        except OSError as error:
            return Result(victim, Outcome.FAILED, f"not signalled ({error.strerror})")
        try:
            changed = self._changed(backend)
            if changed:
                return Result(victim, Outcome.CHANGED, changed)
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        except ProcessLookupError:
            return Result(victim, Outcome.CHANGED, "it had just disconnected")
        except PermissionError as error:
            return Result(victim, Outcome.DENIED, f"this user may not signal it ({error.strerror})")
        except (OSError, ValueError) as error:
            return Result(victim, Outcome.FAILED, f"not signalled ({printable(str(error))})")
        finally:
            os.close(descriptor)
        return None

    def _changed(self, backend: Backend) -> str:
        """Return the difference from the plan; "" for none. Raises OSError where it cannot be told."""
        mark = self._watcher.mark(backend.id)
        if mark is None:
            return "it has changed since"
        self._signalled[backend.id] = mark.started_ticks
        if backend.state == STARTING:
            return self._gone_on(backend, mark)
        if backend.state not in _AT_REST or mark.state_change != backend.state_change:
            return "it has changed since"
        ran = proc.last_run(backend.pid)
        if backend.idle_at_least and ran != mark.last_run:
            return "it has run a query since"
        # The slow question first: what is asked last is as new as can be when the signal goes.
        if not backend.idle_at_least and self._has_sent(backend, mark):
            return "it has received or sent something since"
        if not self._is_at_rest(backend, mark):
            return "it has changed since"
        # Its title says idle until a statement is read and parsed. What came in after the questions above has
        # made it run by now, or it waits for a processor to do so.
        if proc.last_run(backend.pid) != ran:
            return "it has run a query since"
        process = self._watcher.read_process(backend.pid)
        return "it is running" if process is None or process.is_at_work else ""

    def _has_sent(self, backend: Backend, mark: Mark) -> bool:
        """Return whether a session over TCP has sent or received data since it was planned."""
        if backend.client_port is None or backend.state_change is None:
            return True
        asked_at = self._watcher.now
        found = [
            each
            for each in sockets.tcp_sockets(self._watcher.server.port, backend.client_port)
            if each.inode == mark.inode
        ]
        if len(found) != 1 or found[0].is_unanswered:
            return True
        moved = asked_at - found[0].sent_milliseconds_ago * 1000 - backend.state_change
        return abs(moved) >= SENT_TOLERANCE_MICROSECONDS

    def _is_same(self, backend: Backend, mark: Mark) -> proc.Process | None:
        """The process, where it still is the one that was seen, of that same server; None where it is not."""
        server = self._watcher.server
        process = self._watcher.read_process(backend.pid)
        is_same = (
            process is not None
            and process.parent == server.pid
            and process.started_ticks == mark.started_ticks
        )
        return process if is_same else None

    def _is_at_rest(self, backend: Backend, mark: Mark) -> bool:
        """Return whether the process is that same session, in the state that it had in the plan."""
        process = self._is_same(backend, mark)
        if process is None or process.is_cut_off:
            return False
        prefix = self._watcher.prefix
        title = read_title(process.title, prefix)
        if may_be_walsender(process.title, prefix) and takes_usr2(backend.pid) != (False, True):
            return False
        who = (title.names, title.host, title.port) if title is not None else None
        return title is not None and who == mark.who and title.activity == backend.state

    def _gone_on(self, backend: Backend, mark: Mark) -> str:
        """Return why a login is no longer stalled; "" if it is, in that same phase.

        One at work is none, as while a password is checked. That it has run since the look does not count:
        whoever sends a byte now and then would be out of reach.
        """
        process = self._is_same(backend, mark)
        if process is None or process.command_line != mark.command_line:
            return "its login has moved on"
        return "it is running" if process.is_at_work else ""

    async def remaining(self, victims: Sequence[Victim]) -> frozenset[BackendId]:
        """Those whose process still runs; a pid that another process has by now is gone. Never raises."""
        return await asyncio.to_thread(self._remaining, victims)

    async def taken(self) -> int | None:
        """Return the slots that processes of clients hold now; None where these cannot be looked at."""
        try:
            return (await asyncio.to_thread(self._watcher.look)).snapshot.counts.total
        except (PgtopError, OSError, RuntimeError):  # RuntimeError: this user may have no more threads
            return None

    def _remaining(self, victims: Sequence[Victim]) -> frozenset[BackendId]:
        return frozenset(each.backend.id for each in victims if self._is_there(each.backend))

    def _is_there(self, backend: Backend) -> bool:
        try:
            process = self._watcher.read_process(backend.pid)
        except OSError:  # it cannot be looked at, so that nobody can say that it is gone
            return True
        return process is not None and process.started_ticks == self._signalled[backend.id]
