"""One file per runtime; only these import one, and they do not know each other."""
