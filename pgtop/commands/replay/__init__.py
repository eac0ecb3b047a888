"""`pgtop replay`: the recorded past on the dashboard's screens, or what the diagnosis says of it."""
