"""`pgtop snapshot`: one look at a server, as a table or as JSON."""
