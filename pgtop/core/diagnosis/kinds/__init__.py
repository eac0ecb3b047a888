"""The rules, one file a kind: each finds its cause among the sessions that no earlier one explains."""
