"""What the dashboard knows: what it has seen, its history, the daemons, the host of the server."""
