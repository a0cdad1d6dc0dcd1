"""How processes are started, and what the kernel enforces on those that ask for it: seccomp and Landlock.

Mechanisms only, by the standard library alone. What a process with images may do is decided in
``edgepose.device.sandbox``, what a process that reads foreign model files may do on the host's side.
"""
