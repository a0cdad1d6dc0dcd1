"""Every system call of Linux with its numbers, told apart by what a locked process needs of it.

Numbers: x86-64 from Linux's arch/x86/entry/syscalls/syscall_64.tbl, aarch64 from
include/uapi/asm-generic/unistd.h. They never change. A call stands in exactly one of the three tables;
None where an architecture does not have it.
"""

from __future__ import annotations

from dataclasses import dataclass

# include/uapi/linux/audit.h
_AUDIT_ARCH_X86_64 = 0xC000003E
_AUDIT_ARCH_AARCH64 = 0xC00000B7
# The tables end here (Linux 6.17); what comes later is unknown to a filter, which says so with ENOSYS.
NEWEST_KNOWN = 469

# What a program does with itself, its files and its descriptors.
ORDINARY_CALLS: dict[str, tuple[int | None, int | None]] = {
    # Files
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None),
    "fstat": (5, 80), "lstat": (6, None), "lseek": (8, 62), "pread64": (17, 67), "pwrite64": (18, 68),
    "readv": (19, 65), "writev": (20, 66), "preadv": (295, 69), "pwritev": (296, 70), "preadv2": (327, 286),
    "pwritev2": (328, 287), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "fsync": (74, 82), "fdatasync": (75, 83),
    "sync": (162, 81), "syncfs": (306, 267), "sync_file_range": (277, 84), "truncate": (76, 45),
    "ftruncate": (77, 46), "fallocate": (285, 47), "getdents": (78, None), "getdents64": (217, 61),
    "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "creat": (85, None), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "unlink": (87, None), "unlinkat": (263, 35), "readlink": (89, None),
    "readlinkat": (267, 78), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "chown": (92, None), "lchown": (94, None), "fchown": (93, 55),
    "fchownat": (260, 54), "umask": (95, 166), "openat": (257, 56), "openat2": (437, 437),
    "newfstatat": (262, 79), "statx": (332, 291), "statfs": (137, 43), "fstatfs": (138, 44),
    "flock": (73, 32), "fadvise64": (221, 223), "readahead": (187, 213), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88), "copy_file_range": (326, 285),
    "sendfile": (40, 71), "close_range": (436, 436), "cachestat": (451, 451), "getxattr": (191, 8),
    "lgetxattr": (192, 9), "fgetxattr": (193, 10), "listxattr": (194, 11), "llistxattr": (195, 12),
    "flistxattr": (196, 13), "getxattrat": (464, 464), "listxattrat": (465, 465), "file_getattr": (468, 468),
    # Memory
    "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216), "madvise": (28, 233),
    "msync": (26, 227), "mincore": (27, 232), "mlock": (149, 228), "mlock2": (325, 284),
    "munlock": (150, 229), "mlockall": (151, 230), "munlockall": (152, 231), "brk": (12, 214),
    "memfd_create": (319, 279), "mbind": (237, 235), "set_mempolicy": (238, 237), "get_mempolicy": (239, 236),
    "set_mempolicy_home_node": (450, 450), "pkey_alloc": (330, 289), "pkey_free": (331, 290),
    "pkey_mprotect": (329, 288), "mseal": (462, 462), "map_shadow_stack": (453, 453),
    "membarrier": (324, 283),
    # Time
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153),
    "getitimer": (36, 102), "setitimer": (38, 103), "alarm": (37, None), "timer_create": (222, 107),
    "timer_settime": (223, 110), "timer_gettime": (224, 108), "timer_getoverrun": (225, 109),
    "timer_delete": (226, 111), "timerfd_create": (283, 85), "timerfd_settime": (286, 86),
    "timerfd_gettime": (287, 87),
    # Threads and scheduling
    "futex": (202, 98), "futex_wait": (455, 455), "futex_wake": (454, 454), "futex_requeue": (456, 456),
    "futex_waitv": (449, 449), "set_robust_list": (273, 99), "get_robust_list": (274, 100),
    "set_tid_address": (218, 96), "rseq": (334, 293), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "sched_setaffinity": (203, 122), "sched_getparam": (143, 121),
    "sched_setparam": (142, 118), "sched_getscheduler": (145, 120), "sched_setscheduler": (144, 119),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "sched_rr_get_interval": (148, 127), "sched_getattr": (315, 275), "sched_setattr": (314, 274),
    "getpriority": (140, 141), "setpriority": (141, 140), "getcpu": (309, 168), "ioprio_get": (252, 31),
    "ioprio_set": (251, 30), "arch_prctl": (158, None), "set_thread_area": (205, None),
    "get_thread_area": (211, None), "exit": (60, 93), "exit_group": (231, 94), "restart_syscall": (219, 128),
    "wait4": (61, 260), "waitid": (247, 95), "pause": (34, None),
    # Signals
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132), "signalfd": (282, None), "signalfd4": (289, 74),
    # Waiting
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    "epoll_create": (213, None), "epoll_create1": (291, 20), "epoll_ctl": (233, 21),
    "epoll_wait": (232, None), "epoll_pwait": (281, 22), "epoll_pwait2": (441, 441), "eventfd": (284, None),
    "eventfd2": (290, 19), "pipe": (22, None), "pipe2": (293, 59),
    # What a process asks about itself
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "getresuid": (118, 148),
    "getresgid": (120, 150), "getgroups": (115, 158), "getpgrp": (111, None), "getpgid": (121, 155),
    "getsid": (124, 156), "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179),
    "uname": (63, 160), "capget": (125, 90), "getrandom": (318, 278),
}  # fmt: skip

# Some of it is ordinary, some is not.
RULED_CALLS: dict[str, tuple[int | None, int | None]] = {
    "ioctl": (16, 29), "fcntl": (72, 25), "prctl": (157, 167), "prlimit64": (302, 261), "kill": (62, 129),
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "clone": (56, 220),
    "mknod": (133, None), "mknodat": (259, 33), "clone3": (435, 435),
}  # fmt: skip

# What reaches outside, or has nothing to do with reading, computing and writing.
REFUSED_CALLS: dict[str, tuple[int | None, int | None]] = {
    # Sockets
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "accept4": (288, 242),
    "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212),
    "recvmmsg": (299, 243), "sendmmsg": (307, 269), "bind": (49, 200), "listen": (50, 201),
    "socketpair": (53, 199), "shutdown": (48, 210), "setsockopt": (54, 208), "getsockopt": (55, 209),
    "getsockname": (51, 204), "getpeername": (52, 205),
    # Processes and programs
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "setpgid": (109, 154), "setsid": (112, 157), "setrlimit": (160, 164), "tkill": (200, 130),
    "uselib": (134, None),
    # Other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # Rings and kernel programs
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_setup": (206, 0), "io_destroy": (207, 1), "io_submit": (209, 2), "io_cancel": (210, 3),
    "io_getevents": (208, 4), "io_pgetevents": (333, 292), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "seccomp": (317, 277), "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446), "lsm_get_self_attr": (459, 459),
    "lsm_set_self_attr": (460, 460), "lsm_list_modules": (461, 461),
    # Bytes that go by without being read
    "splice": (275, 76), "tee": (276, 77), "vmsplice": (278, 75), "memfd_secret": (447, 447),
    # File handles and watches
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "inotify_init": (253, None),
    "inotify_init1": (294, 26), "inotify_add_watch": (254, 27), "inotify_rm_watch": (255, 28),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "lookup_dcookie": (212, 18),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "file_setattr": (469, 469),
    # Mounts and namespaces
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "open_tree": (428, 428), "open_tree_attr": (467, 467),
    "move_mount": (429, 429), "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458),
    "sysfs": (139, None), "ustat": (136, None), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    # System V and POSIX messages
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197), "semget": (64, 190),
    "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
    # Rights
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123, 152),
    "setgroups": (116, 159), "capset": (126, 91), "personality": (135, 92), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219),
    # The machine
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "create_module": (174, None),
    "get_kernel_syms": (177, None), "query_module": (178, None), "acct": (163, 89), "swapon": (167, 224),
    "swapoff": (168, 225), "reboot": (169, 142), "syslog": (103, 116), "iopl": (172, None),
    "ioperm": (173, None), "modify_ldt": (154, None), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161),
    "setdomainname": (171, 162), "vhangup": (153, 58), "nfsservctl": (180, 42), "_sysctl": (156, None),
    # Never made or long gone
    "getpmsg": (181, None), "putpmsg": (182, None), "afs_syscall": (183, None), "tuxcall": (184, None),
    "security": (185, None), "vserver": (236, None), "epoll_ctl_old": (214, None),
    "epoll_wait_old": (215, None), "remap_file_pages": (216, 234),
}  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """An architecture's numbers.

    Attributes:
        audit: What the kernel calls it in a filter.
        numbers: Every call that it has, by name.
    """

    audit: int
    numbers: dict[str, int]


def _numbers(column: int) -> dict[str, int]:
    every = {**ORDINARY_CALLS, **RULED_CALLS, **REFUSED_CALLS}
    return {name: number for name, pair in every.items() if (number := pair[column]) is not None}


# By ``platform.machine()``.
ARCHITECTURES: dict[str, Architecture] = {
    "x86_64": Architecture(_AUDIT_ARCH_X86_64, _numbers(0)),
    "aarch64": Architecture(_AUDIT_ARCH_AARCH64, _numbers(1)),
}
