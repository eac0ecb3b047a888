"""`pgtop config`: the settings in force and the source of each."""
