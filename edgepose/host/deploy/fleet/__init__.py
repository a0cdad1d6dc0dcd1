"""Deployment to many devices, with Ansible as the engine."""
