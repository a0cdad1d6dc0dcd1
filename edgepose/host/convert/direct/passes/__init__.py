"""Rewrites that keep the graph's meaning, each with what it requires and ensures."""
