"""The queries about the server itself, asked once a connection."""

from typing import Final

from pgtop.postgres.queries.fragments import microseconds

_PROVIDER_RESERVED: Final = "pg_catalog.current_setting('rds.rds_superuser_reserved_connections', true)"

ABOUT_SERVER: Final = f"""
SELECT pg_catalog.current_setting('server_version_num')::int AS version_num,
       pg_catalog.current_setting('max_connections')::int AS max_connections,
       pg_catalog.current_setting('superuser_reserved_connections')::int AS superuser_reserved_connections,
       coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0) AS reserved_connections,
       CASE WHEN {_PROVIDER_RESERVED} OPERATOR(pg_catalog.<>) '' THEN {_PROVIDER_RESERVED}::int ELSE 0 END
         AS provider_reserved_connections,
       {microseconds("pg_catalog.pg_postmaster_start_time()")} AS postmaster_start,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       pg_catalog.pg_backend_pid() AS own_pid
"""
"""One row, read when pgtop connects: what stays so until the server restarts.
`reserved_connections` exists from 16 on."""

SYSTEM_IDENTIFIER: Final = "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()"
"""One row. Fails with 42501 where a service has revoked it."""

SERVER_END: Final = """
SELECT pg_catalog.host(pg_catalog.inet_server_addr()) AS address, pg_catalog.inet_server_port() AS port
"""
"""One row: the server's own end of this connection; both are null over a Unix socket. Behind a balancer or a
translated address it is another one than the client connected to."""
