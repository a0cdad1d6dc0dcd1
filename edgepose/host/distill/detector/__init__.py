"""A person detector that is taught by a larger one and by labels (ADR 0021)."""
