"""The janitor: owns the promise that no throw-away server outlives the program that started it.

It is two shell scripts, each in a session of its own, that read a pipe. Only their parent holds the other
ends, so whatever ends the parent, `kill -9` included, closes the pipes; then one script stops the server, and
the other removes its directories. They need no Python, and their command lines name neither this program nor
the directory, so that a `pkill -f` meant for the parent does not end them, too.

The script that stops the server runs as the server's user, since files of that user name the processes and
the shared memory to remove: as root, it would let any program of that user have any process killed and any
shared memory removed. It removes the lock file last, which tells the other script that it may begin.
"""

import contextlib
import os
import subprocess
from pathlib import Path

from pgtop.demo.account import PopenIdentity
from pgtop.errors import PgtopError

_WAIT = r"""# Waits for whoever started a throw-away PostgreSQL server to be gone, then tidies up after it.
trap '' HUP INT QUIT TERM PIPE TSTP
started=
while IFS= read -r line; do
  case $line in
    finished) exit 0 ;;
    *) started="$started $line" ;;
  esac
done

pause() { sleep 0.1 2>/dev/null || sleep 1; }

lock="$THROWAWAY_DIRECTORY/data/postmaster.pid"
gone=0
rounds=0
"""

_END = r"""
# A process id may be another process by now: the command line tells.
ours() {
  case $1 in '' | *[!0-9]* | 0 | 1) return 1 ;; esac
  kill -0 "$1" 2>/dev/null || return 1
  if [ -e /proc/self/cmdline ]; then
    arguments=$(tr '\000' '\n' 2>/dev/null <"/proc/$1/cmdline")
  else
    arguments=$(ps -ww -o args= -p "$1" 2>/dev/null)
  fi
  case $arguments in *"$THROWAWAY_DIRECTORY"*) return 0 ;; esac
  return 1
}

end() {
  for signal in INT QUIT KILL; do
    ours "$1" || return 0
    kill -s "$signal" "$1" 2>/dev/null
    kill -s CONT "$1" 2>/dev/null
    waited=0
    while [ "$waited" -lt 50 ] && ours "$1"; do
      waited=$((waited + 1))
      pause
    done
  done
}

# A postmaster that was killed leaves its lock file, and the shared memory segment named in its line 7.
segment_of() {
  { read -r postmaster; for line in 2 3 4 5 6; do read -r line; done; read -r line segment; } <"$1"
}

while [ "$gone" -lt 5 ] && [ "$rounds" -lt 300 ]; do
  rounds=$((rounds + 1))
  postmaster=
  segment=
  [ -f "$lock" ] && [ ! -L "$lock" ] && segment_of "$lock" 2>/dev/null
  for one in $started $postmaster; do end "$one"; done
  if [ -n "$postmaster" ] && [ -e "$lock" ]; then
    case $segment in '' | *[!0-9]*) ;; *) ipcrm -m "$segment" >/dev/null 2>&1 ;; esac
    rm -f -- "$lock"
  fi
  if [ -e "$THROWAWAY_DIRECTORY" ]; then gone=0; else gone=$((gone + 1)); fi
  pause
done
"""

_REMOVE = r"""
while [ "$gone" -lt 5 ] && [ "$rounds" -lt 300 ]; do
  rounds=$((rounds + 1))
  # While it is there, the server is still being stopped; not for ever, whatever its user does.
  if [ ! -f "$lock" ] || [ -L "$lock" ] || [ "$rounds" -gt 250 ]; then
    rm -rf -- "$THROWAWAY_DIRECTORY" "$THROWAWAY_SOCKETS" 2>/dev/null
  fi
  if [ -e "$THROWAWAY_DIRECTORY" ] || [ -e "$THROWAWAY_SOCKETS" ]; then gone=0; else gone=$((gone + 1)); fi
  pause
done
"""

_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_SECONDS_TO_TIDY = 60.0


class Janitor:
    """The processes that clean up after a server whose parent is gone, started before anything is made."""

    def __init__(self, directory: Path, socket_dir: Path, server: PopenIdentity) -> None:
        """`directory` holds `data/`; `socket_dir` may be in it, or elsewhere; `server` is its user."""
        self._environment = {
            "PATH": os.pathsep.join(filter(None, (os.environ.get("PATH"), _PATH))),
            "THROWAWAY_DIRECTORY": str(directory),
            "THROWAWAY_SOCKETS": str(socket_dir),
        }
        self._server = server
        self._remover = self._hire(_REMOVE, {})
        self._ender = self._hire(_END, server)

    def _hire(self, task: str, identity: PopenIdentity) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                ["/bin/sh", "-c", _WAIT + task],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=self._environment,
                start_new_session=True,
                **identity,
            )
        except OSError as error:
            raise PgtopError(
                f"/bin/sh cannot be started ({error})", "a throw-away server needs it"
            ) from error

    def tell(self, pid: int) -> None:
        """Name a process that works in the directory, to be ended before the directory is removed."""
        if not _write(self._ender, f"{pid}\n"):
            _leave(self._ender)
            self._ender = self._hire(_END, self._server)
            _write(self._ender, f"{pid}\n")
        if self._remover.poll() is not None:
            _leave(self._remover)
            self._remover = self._hire(_REMOVE, {})

    def dismiss(self) -> None:
        """End the janitor: everything is cleaned up already."""
        for one in (self._ender, self._remover):
            _write(one, "finished\n")
        self.take_over()

    def take_over(self) -> None:
        """Leave the cleanup to the janitor, and wait until it is done."""
        for one in (self._ender, self._remover):
            _close(one)
        for one in (self._remover, self._ender):
            _leave(one)


def _write(process: "subprocess.Popen[bytes]", line: str) -> bool:
    """Write a line to a script, and return whether it is still there to read it."""
    pipe = process.stdin
    if pipe is None or pipe.closed:
        return False
    try:
        pipe.write(line.encode())
    except BrokenPipeError:
        return False
    return True


def _close(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()


def _leave(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a script to end, but not for ever: the server's user may have stopped it."""
    _close(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_TIDY)
    if process.poll() is None:
        process.kill()
        process.wait()
