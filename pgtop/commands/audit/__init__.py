"""`pgtop audit`: the contents of the audit log."""
