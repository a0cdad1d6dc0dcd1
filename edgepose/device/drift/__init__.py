"""Drift: whether what a camera shows still is what its model was judged on."""
