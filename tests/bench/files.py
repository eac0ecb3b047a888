"""Room for thousands of connections in one process."""

import contextlib
import resource


def many_files() -> None:
    """Lets this process and those that it starts open as many files as the system allows."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(65_536, files[1]), files[1]))
