"""The past that is kept: recordings of all that was polled, a file for each server and day.

A `Recorder` writes what a face saw, a `Recording` reads it back, and the graph goes on with its counts. May
import core, errors and safe_files.
"""
