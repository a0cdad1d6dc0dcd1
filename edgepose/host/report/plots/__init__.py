"""Plots as SVG text: one file a kind, figures in, markup out."""
