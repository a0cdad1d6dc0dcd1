"""What keeps images in a process: the kernel refuses every system call that could carry them out."""
