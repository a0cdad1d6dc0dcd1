"""From a float model to a smaller one: recipe, calibration, audit, comparison with the parent."""
