"""Packs a model for a device profile into one file, with the frames that prove it on the device."""
