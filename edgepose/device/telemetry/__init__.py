"""Telemetry that stays on the device: counts, histograms, temperatures and events, never a pose or a picture."""
