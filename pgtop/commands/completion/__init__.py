"""`pgtop completion`: the script that makes a shell complete pgtop's command line, and the answers to it."""
