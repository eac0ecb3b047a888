"""`pgtop record`: the recordings that there are, and one with other names that can be sent to somebody."""
