"""From one model format to another, with the proof that the numbers stayed the same."""
