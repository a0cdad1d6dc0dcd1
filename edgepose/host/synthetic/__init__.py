"""People who do not exist: articulated, dressed, lit figures in scenes, with labels that are exactly true."""
