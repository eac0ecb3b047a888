"""The facts of pgtop and its decisions: frozen values and pure functions.

The package does no I/O and reads no clock. It imports nothing but msgspec and itself.
"""
