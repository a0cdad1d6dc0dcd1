"""Verification only: this layer never holds a private key."""
