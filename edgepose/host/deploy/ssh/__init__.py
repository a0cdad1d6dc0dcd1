"""Deployment to a device over the system's OpenSSH."""
