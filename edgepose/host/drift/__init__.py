"""What a model was judged on, for the device to compare with."""
