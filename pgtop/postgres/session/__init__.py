"""The one connection of a pgtop: taking it, keeping it, and bounding what comes over it."""
