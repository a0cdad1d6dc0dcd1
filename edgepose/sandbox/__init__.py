"""What the kernel enforces on a process that asks for it: seccomp and Landlock, by ctypes alone.

Mechanisms only. What a process with pictures may do is decided in ``edgepose.device.sandbox``, what a process
that reads foreign model files may do on the host's side.
"""
