"""From a float model to an installed bundle: plan, act, report."""
