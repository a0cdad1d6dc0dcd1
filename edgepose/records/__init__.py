"""The records that host and device exchange: strict, unknown keys refused."""
