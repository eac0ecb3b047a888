"""`pgtop reap --watch`: the loop, its log, its metrics, and what it tells systemd.

May import reaping and what lies below; knows no command and no screen.
"""
