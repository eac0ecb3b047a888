"""The dashboard.

The only package that imports textual, rich or plotext. May import reaping and what lies below.
"""
