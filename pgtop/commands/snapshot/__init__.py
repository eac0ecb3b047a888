"""`pgtop snapshot`: one poll of a server, as a table or as JSON."""
