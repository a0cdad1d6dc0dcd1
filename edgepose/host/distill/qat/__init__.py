"""Quantization-aware fine-tuning: a student learns with the rounding that its int8 file will do."""
