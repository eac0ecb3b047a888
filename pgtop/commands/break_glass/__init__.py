"""`pgtop break-glass`: makes room from the host of the server, without a connection.

Imports no driver and no screen.
"""
