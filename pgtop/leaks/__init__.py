"""`pgtop leaks`: where Python code takes a connection and does not give it back.

Sources are parsed and never imported, and nothing of them is run. It imports the standard library, msgspec
and `core`: no driver and no screen.
"""
