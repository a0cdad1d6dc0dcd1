"""Distillation: a small student learns from a teacher's heatmaps and from what labels there are."""
