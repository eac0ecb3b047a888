"""The history: the file behind the graph, which survives a restart.

May import core, errors and safe_files.
"""
