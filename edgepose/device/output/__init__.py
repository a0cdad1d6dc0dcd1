"""Where poses go: records line by line, a drawn video."""
