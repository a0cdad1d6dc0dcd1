"""``edgepose data audit``: is this folder fit to calibrate on, and what does it lack."""
