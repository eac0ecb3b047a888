"""What happens at an alert: the bell, and a command of the user."""
