"""What is typed and what is printed: the command line, its options, and a file or folder for each command.

The only package that knows all others. It imports what a command runs inside the command.
"""
