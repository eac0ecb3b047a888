"""`pgtop audit`: reads the audit log back."""
