"""`pgtop break-glass`: the termination of sessions from the server's own host, without a connection.

The package imports no driver and no screen.
"""
