"""A page on this machine alone that shows skeletons and figures, never an image."""
