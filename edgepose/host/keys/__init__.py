"""Private keys: made, kept and used only here, on the host."""
