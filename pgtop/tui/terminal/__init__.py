"""The terminal: its capabilities, its driver and its output."""
