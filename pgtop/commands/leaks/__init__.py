"""`pgtop leaks`: its options and its outputs. It imports `leaks` and what commands share, and no server."""
