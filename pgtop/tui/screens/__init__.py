"""The screens above the dashboard: dialogs, help, details."""
