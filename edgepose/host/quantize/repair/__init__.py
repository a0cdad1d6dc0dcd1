"""Rewrites a network so that its float result stays and its int8 one holds."""
