"""Bundles for apps: no Python on the phone, so the app gets files and a guide."""
