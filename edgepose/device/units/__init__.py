"""The device as a service of systemd: its units, and what the service tells systemd."""
