"""The actions of the keys: plans and their dialogs, automatic sweeps, and the expiry of plans."""
