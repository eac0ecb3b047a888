"""The terminal itself: what it can do, the driver, and what is written to it."""
