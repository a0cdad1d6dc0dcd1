"""What prepares, judges and ships a model: runs on the developer's machine only."""
