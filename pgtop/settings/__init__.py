"""The configuration: its values, its file, the options that set them, and their precedence.

The package may import postgres (for the target to connect to) and the layers below it.
"""
