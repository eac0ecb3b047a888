"""A throw-away PostgreSQL server, and a workload that leaks connections.

May import postgres and what lies below. The tests start their servers with it.
"""
