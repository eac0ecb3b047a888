"""The target and role of a connection, read as libpq reads them."""
