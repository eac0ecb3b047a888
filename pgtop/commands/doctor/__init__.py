"""`pgtop doctor`: says whether a role gets in at a full server, and could make room."""
