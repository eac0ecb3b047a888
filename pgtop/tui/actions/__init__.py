"""What a key sets in motion: plans and their dialogs, automatic sweeps, and when a plan expires."""
