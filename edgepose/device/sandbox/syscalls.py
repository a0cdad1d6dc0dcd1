"""System calls that a process with pictures must not make, with their numbers.

Numbers: x86-64 from Linux's arch/x86/entry/syscalls/syscall_64.tbl, aarch64 from
include/uapi/asm-generic/unistd.h. They never change.
"""

from __future__ import annotations

from dataclasses import dataclass

# include/uapi/linux/audit.h
_AUDIT_ARCH_X86_64 = 0xC000003E
_AUDIT_ARCH_AARCH64 = 0xC00000B7


@dataclass(frozen=True)
class Architecture:
    """An architecture's numbers.

    Attributes:
        audit: What the kernel calls it in a filter.
        numbers: Refused calls by name.
        clone: Makes threads, which are allowed, and processes, which are not.
        clone3: The same with its flags where a filter cannot see them.
        seccomp: Loads a filter.
        first_foreign: Numbers from here on belong to another calling convention (x32), or None.
    """

    audit: int
    numbers: dict[str, int]
    clone: int
    clone3: int
    seccomp: int
    first_foreign: int | None = None


ARCHITECTURES: dict[str, Architecture] = {
    "x86_64": Architecture(
        audit=_AUDIT_ARCH_X86_64,
        clone=56,
        clone3=435,
        seccomp=317,
        first_foreign=0x40000000,
        numbers={
            "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "recvfrom": 45, "sendmsg": 46,
            "recvmsg": 47, "bind": 49, "listen": 50, "socketpair": 53, "accept4": 288, "recvmmsg": 299,
            "sendmmsg": 307, "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "ptrace": 101,
            "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_open": 434,
            "pidfd_getfd": 438, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
            "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "name_to_handle_at": 303,
            "open_by_handle_at": 304, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166,
            "pivot_root": 155, "kexec_load": 246, "kexec_file_load": 320, "init_module": 175,
            "finit_module": 313, "add_key": 248, "request_key": 249, "keyctl": 250, "shmget": 29,
            "shmat": 30, "msgget": 68, "msgsnd": 69, "mq_open": 240, "mq_timedsend": 242,
        },
    ),
    "aarch64": Architecture(
        audit=_AUDIT_ARCH_AARCH64,
        clone=220,
        clone3=435,
        seccomp=277,
        numbers={
            "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "accept": 202, "connect": 203,
            "sendto": 206, "recvfrom": 207, "sendmsg": 211, "recvmsg": 212, "accept4": 242, "recvmmsg": 243,
            "sendmmsg": 269, "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270,
            "process_vm_writev": 271, "kcmp": 272, "pidfd_open": 434, "pidfd_getfd": 438,
            "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "bpf": 280,
            "perf_event_open": 241, "userfaultfd": 282, "name_to_handle_at": 264, "open_by_handle_at": 265,
            "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, "kexec_load": 104,
            "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "add_key": 217,
            "request_key": 218, "keyctl": 219, "shmget": 194, "shmat": 196, "msgget": 186, "msgsnd": 189,
            "mq_open": 180, "mq_timedsend": 182,
        },
    ),
}  # fmt: skip
