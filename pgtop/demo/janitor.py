"""The janitor: owns the promise that no throw-away server outlives the program that started it.

It is a shell script in a session of its own that reads a pipe. Only its parent holds the other end, so
whatever ends the parent, `kill -9` included, ends the pipe; then the script stops the server and removes
its directories. It needs no Python, and its command line names neither this program nor the directory,
so that a `pkill -f` meant for the parent does not take it along.
"""

import os
import subprocess
from pathlib import Path

from pgtop.errors import PgtopError

_SCRIPT = r"""# Waits for whoever started a throw-away PostgreSQL server to be gone, then tidies up after it.
trap '' HUP INT QUIT TERM PIPE TSTP
started=
while IFS= read -r line; do
  case $line in
    finished) exit 0 ;;
    *) started="$started $line" ;;
  esac
done

pause() { sleep 0.1 2>/dev/null || sleep 1; }

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

lock="$THROWAWAY_DIRECTORY/data/postmaster.pid"
gone=0
rounds=0
while [ "$gone" -lt 5 ] && [ "$rounds" -lt 300 ]; do
  rounds=$((rounds + 1))
  postmaster=
  segment=
  [ -r "$lock" ] && segment_of "$lock" 2>/dev/null
  for one in $started $postmaster; do end "$one"; done
  if [ -e "$lock" ]; then
    case $segment in '' | *[!0-9]*) ;; *) ipcrm -m "$segment" >/dev/null 2>&1 ;; esac
  fi
  rm -rf -- "$THROWAWAY_DIRECTORY" "$THROWAWAY_SOCKETS" 2>/dev/null
  if [ -e "$THROWAWAY_DIRECTORY" ] || [ -e "$THROWAWAY_SOCKETS" ]; then gone=0; else gone=$((gone + 1)); fi
  pause
done
"""

_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_SECONDS_TO_TIDY = 60.0


class Janitor:
    """Tidies up after a server whose starter is gone; started before there is anything to tidy up."""

    def __init__(self, directory: Path, socket_dir: Path) -> None:
        """`directory` holds `data/`; `socket_dir` may be the same, or lie elsewhere."""
        self._environment = {
            "PATH": os.pathsep.join(filter(None, (os.environ.get("PATH"), _PATH))),
            "THROWAWAY_DIRECTORY": str(directory),
            "THROWAWAY_SOCKETS": str(socket_dir),
        }
        self._process = self._hire()

    def _hire(self) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:
            raise PgtopError(
                f"/bin/sh cannot be started ({error})", "a throw-away server needs it"
            ) from error

    @property
    def pid(self) -> int:
        """The script's process id."""
        return self._process.pid

    def tell(self, pid: int) -> None:
        """Tells of a process that works in the directory, to be ended before the directory goes."""
        if not self._write(f"{pid}\n"):
            self._leave()
            self._process = self._hire()
            self._write(f"{pid}\n")

    def dismiss(self) -> None:
        """Sends it home: everything is tidied up already."""
        self._write("finished\n")
        self._leave()

    def take_over(self) -> None:
        """Leaves the tidying to it, and waits until it is done."""
        self._leave()

    def _write(self, line: str) -> bool:
        """Whether anybody is there to read it."""
        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            return False
        try:
            pipe.write(line.encode())
        except BrokenPipeError:
            return False
        return True

    def _leave(self) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            pipe.close()
        self._process.wait(_SECONDS_TO_TIDY)
