"""`pgtop reap`: the termination of stale sessions, once or as a daemon."""
