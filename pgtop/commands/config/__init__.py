"""`pgtop config`: prints the settings in force and where each comes from."""
