"""The configuration: its values, its file, the options that set them, and which of them wins.

May import postgres (where to connect) and what lies below.
"""
