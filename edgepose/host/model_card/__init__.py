"""Model cards written from measurements."""
