"""What doctor finds: the facts of a checkup, the findings, and how to mend them."""
