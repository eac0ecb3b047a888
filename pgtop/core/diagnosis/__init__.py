"""Diagnosis: what fills a server, in one sentence, with the numbers that lead to it.

Pure functions from a snapshot, what was seen before it and a few facts beside it, to findings. Nothing here
reads a clock, asks a server or knows a screen. It may import core, and nothing above it.
"""
