"""Telemetry that stays on the device: counts, histograms, temperatures, events; no pose, no image."""
