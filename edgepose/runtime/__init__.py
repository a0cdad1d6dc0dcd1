"""What runs on both sides: backends, preprocess, the pose pipeline."""
