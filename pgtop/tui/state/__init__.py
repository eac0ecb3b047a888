"""The state of the dashboard: what it has seen, its history, the daemons, the host of the server."""
