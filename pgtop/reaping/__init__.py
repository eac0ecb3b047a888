"""Terminating sessions: the one reaper, the automatic one above it, and how its work is reported in words.

May import audit, postgres and what lies below; knows no command, no daemon and no screen.
"""
