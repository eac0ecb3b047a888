"""The command line: its options, its output, and a file or folder for each command.

It is the only package that knows all others. A command imports what it runs inside its own function.
"""
