"""What an accelerator takes of a finished TFLite file, op by op, with the reason where it does not."""
