"""Side environments for tools whose pins exclude everything else."""
