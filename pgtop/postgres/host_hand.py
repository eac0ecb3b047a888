"""The host's hand: how the reaper reaches a server's sessions without a slot, by SIGTERM.

That is the signal that pg_terminate_backend sends. It goes through a descriptor of the process, so that a pid
that was given to another process meanwhile is never hit, and only when the process, looked at again through
that time, still is the session that was planned, idle, and has neither run nor sent anything since. Never
SIGKILL, which would restart the whole server.

`HostHand(watcher)` is a `pgtop.reaper.Hand`; the plan has to be made from the watcher's last look.
"""

import asyncio
import os
import select
import signal
from collections.abc import Mapping, Sequence

from pgtop.core.activity import IDLE, Backend, BackendId
from pgtop.core.outcome import Outcome, Result
from pgtop.core.plan import Act, Plan, Victim
from pgtop.core.text import printable
from pgtop.core.title import read_title
from pgtop.errors import PgtopError, UsageError
from pgtop.postgres import proc, sockets
from pgtop.postgres.host import SENT_TOLERANCE_MICROSECONDS, HostWatcher, Mark
from pgtop.postgres.host_servers import ClosedError


class HostHand:
    """Reaches the sessions of a server of this host."""

    def __init__(self, watcher: HostWatcher) -> None:
        self._watcher = watcher

    async def advisory_lock_holders(self) -> frozenset[int]:
        """Nobody: advisory locks are not seen from the host."""
        return frozenset()

    async def grip(self, plan: Plan) -> "HostGrip":
        """Lays the hand on a plan's victims. Raises PgtopError for what only the server itself can do."""
        if plan.act is not Act.TERMINATE:
            raise PgtopError("statements cannot be cancelled from the host", "end the session")
        return HostGrip(self._watcher)

    def check_rights(self, plan: Plan) -> None:
        """Raises NotPermittedError where this user may not signal them, UsageError on an old kernel."""
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


class HostGrip:
    """The hand on one plan's victims; holds a descriptor of each that was signalled."""

    def __init__(self, watcher: HostWatcher) -> None:
        self._watcher = watcher
        self._descriptors: dict[BackendId, int] = {}

    @property
    def queries(self) -> Mapping[BackendId, str]:
        """None: no title has the statement."""
        return {}

    role: str | None = None
    """No role of the server's acts here."""
    is_rescue = False

    async def signal(self, victim: Victim) -> Result | None:
        """Looks again and signals; None where the signal was sent and is yet to be confirmed."""
        return await asyncio.to_thread(self._signal, victim)

    def _signal(self, victim: Victim) -> Result | None:
        backend = victim.backend
        try:
            descriptor = os.pidfd_open(backend.pid)
        except ProcessLookupError:
            return Result(victim, Outcome.CHANGED, "it had just left")
        except OSError as error:
            return Result(victim, Outcome.FAILED, f"not signalled ({error.strerror})")
        sent = False
        try:
            changed = self._changed(backend)
            if changed:
                return Result(victim, Outcome.CHANGED, changed)
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            self._descriptors[backend.id] = descriptor
            sent = True
        except ProcessLookupError:
            return Result(victim, Outcome.CHANGED, "it had just left")
        except PermissionError as error:
            return Result(victim, Outcome.DENIED, f"this user may not signal it ({error.strerror})")
        except (OSError, ValueError) as error:
            return Result(victim, Outcome.FAILED, f"not signalled ({printable(str(error))})")
        finally:
            if not sent:
                os.close(descriptor)
        return None

    def _changed(self, backend: Backend) -> str:
        """What is different from what was planned; "" for nothing. Raises OSError where nobody can tell."""
        mark = self._watcher.mark(backend.id)
        if mark is None or mark.state_change != backend.state_change or backend.state != IDLE:
            return "no longer what was shown"
        # The slow question first: what is asked last is as new as can be when the signal goes.
        if not backend.idle_at_least and self._has_sent(backend):
            return "it was sent something, or has answered, since"
        if not self._is_idle(backend, mark):
            return "no longer what was shown"
        if backend.idle_at_least and proc.timeslices(backend.pid) != mark.timeslices:
            return "it has run since"
        return ""

    def _has_sent(self, backend: Backend) -> bool:
        """Whether a session over TCP has sent data since it was planned, or was sent some."""
        if backend.client_port is None or backend.state_change is None:
            return True
        asked_at = self._watcher.now
        found = [
            each
            for each in sockets.tcp_sockets(self._watcher.server.port, backend.client_port)
            if each.remote_address == backend.client_addr
        ]
        if len(found) != 1 or found[0].unread_bytes:
            return True
        moved = asked_at - found[0].sent_milliseconds_ago * 1000 - backend.state_change
        return abs(moved) >= SENT_TOLERANCE_MICROSECONDS

    def _is_idle(self, backend: Backend, mark: Mark) -> bool:
        """Whether the process is that same session of that same server, and idle."""
        server = self._watcher.server
        ids = proc.owner(backend.pid)
        process = proc.read_process(backend.pid)
        if process is None or process.is_cut_off or ids is None or ids[0] != server.uid:
            return False
        title = read_title(process.title, self._watcher.prefix)
        return (
            process.parent == server.pid
            and process.started_ticks == mark.started_ticks
            and title is not None
            and (title.names, title.host, title.port) == mark.who
            and title.activity == IDLE
        )

    async def remaining(self, victims: Sequence[Victim]) -> frozenset[BackendId]:
        """Those whose process still runs: a descriptor of one that has ended can be read. Never raises."""
        waiting = select.poll()
        for victim in victims:
            waiting.register(self._descriptors[victim.backend.id], select.POLLIN)
        ended = {descriptor for descriptor, _ in waiting.poll(0)}
        return frozenset(
            victim.backend.id for victim in victims if self._descriptors[victim.backend.id] not in ended
        )

    def release(self) -> None:
        """Closes the descriptors."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
