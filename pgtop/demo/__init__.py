"""A throw-away PostgreSQL server, and workloads that fill it, one for each cause.

May import postgres and what lies below. The tests start their servers with it.
"""
