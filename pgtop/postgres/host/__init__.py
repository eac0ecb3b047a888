"""A server as seen from its own host: its processes, their titles and sockets, and signals to them.

Imports no driver: it works where no connection can be had.
"""
