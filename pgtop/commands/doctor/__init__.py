"""`pgtop doctor`: a check that a role can log in to a full server and terminate sessions there."""
