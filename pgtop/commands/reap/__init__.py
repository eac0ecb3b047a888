"""`pgtop reap`: terminates stale sessions, once or as a daemon."""
