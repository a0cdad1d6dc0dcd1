"""Two slots, one source of truth, and a way back: installing so that a power cut cannot break it."""
