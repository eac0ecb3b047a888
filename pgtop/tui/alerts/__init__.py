"""The reactions to an alert: the bell, and a command of the user."""
