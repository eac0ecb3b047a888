"""The audit log: what is written before and after each signal, its files, and reading it back.

May import settings and what lies below them. The log knows no command and no screen.
"""
