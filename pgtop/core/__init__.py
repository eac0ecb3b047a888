"""Facts and judgement: frozen values and pure functions.

Does no I/O and reads no clock. Imports nothing but msgspec and itself.
"""
