"""`pgtop.pool`, on real servers."""
