"""All that speaks to a server: its queries, what they mean, and how its errors are told.

`conninfo` says where to connect, `session` is the one connection, `host` sees the same server from its own
host. May import core, errors, concurrency and safe_files.
"""
