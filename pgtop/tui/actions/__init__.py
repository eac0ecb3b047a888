"""The actions of the keys: plans and their dialogs, automatic sweeps, blockers, and the expiry of plans."""
