"""The filter, run by an interpreter of its own: what it allows and refuses on both architectures."""

from __future__ import annotations

import errno

import pytest

from edgepose.sandbox.policy import IoctlKind, ordinary_policy
from edgepose.sandbox.seccomp import (
    ALLOW,
    ERRNO,
    KILL_PROCESS,
    Condition,
    FilterPolicy,
    Instruction,
    filter_program,
)
from edgepose.sandbox.syscalls import (
    ARCHITECTURES,
    NEWEST_KNOWN,
    ORDINARY_CALLS,
    REFUSED_CALLS,
    RULED_CALLS,
    Architecture,
)

X86, ARM = ARCHITECTURES["x86_64"], ARCHITECTURES["aarch64"]
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
OWN, STRANGER = 4711, 4712
BOTH = pytest.mark.parametrize("architecture", [X86, ARM], ids=["x86_64", "aarch64"])


def verdict(program: list[Instruction], number: int, audit: int, *arguments: int) -> int:
    """Runs a program as the kernel's documentation says (networking/filter.rst)."""
    data = {0: number, 4: audit}
    for place, argument in enumerate((*arguments, *(0,) * (6 - len(arguments)))):
        data[16 + 8 * place], data[20 + 8 * place] = argument & 0xFFFFFFFF, argument >> 32 & 0xFFFFFFFF
    accumulator = position = 0
    for _ in range(len(program)):
        step = program[position]
        position += 1
        if step.code == 0x20:
            accumulator = data[step.value]
        elif step.code == 0x54:
            accumulator &= step.value
        elif step.code == 0x05:
            position += step.value
        elif step.code == 0x06:
            return step.value
        else:
            holds = {
                0x15: accumulator == step.value,
                0x25: accumulator > step.value,
                0x35: accumulator >= step.value,
            }[step.code]
            position += step.if_true if holds else step.if_false
    raise AssertionError("the program does not end")


def said(architecture: Architecture, name: str, *arguments: int, **more: object) -> int:
    program = filter_program(architecture, ordinary_policy(OWN, **more))  # type: ignore[arg-type]
    return verdict(program, architecture.numbers[name], architecture.audit, *arguments)


@BOTH
def test_every_number_is_decided_by_the_tables(architecture: Architecture) -> None:
    program = filter_program(architecture, ordinary_policy(OWN))
    ordinary = {architecture.numbers[name] for name in ORDINARY_CALLS if name in architecture.numbers}
    decided = {architecture.numbers[name] for name in RULED_CALLS if name in architecture.numbers}
    for number in range(NEWEST_KNOWN + 1):
        if number not in decided:
            expected = ALLOW if number in ordinary else EPERM
            assert verdict(program, number, architecture.audit) == expected, number


@BOTH
@pytest.mark.parametrize("name", sorted(REFUSED_CALLS))
def test_a_refused_call_is_refused_whatever_its_arguments_are(architecture: Architecture, name: str) -> None:
    if name in architecture.numbers:
        assert said(architecture, name) == EPERM
        assert said(architecture, name, OWN, OWN, OWN, OWN, OWN, OWN) == EPERM


@BOTH
def test_a_number_that_nobody_knows_yet_does_not_exist(architecture: Architecture) -> None:
    program = filter_program(architecture, ordinary_policy(OWN))
    # 512 to 547 are x32's calls on x86-64, with or without the bit that marks them.
    for number in (NEWEST_KNOWN + 1, *range(512, 548), 0x40000000 + 41, 0x40000000 + 520, 0xFFFFFFFF):
        assert verdict(program, number, architecture.audit) == ENOSYS


def test_another_architecture_ends_the_process() -> None:
    program = filter_program(X86, ordinary_policy(OWN))
    assert verdict(program, 41, ARM.audit) == KILL_PROCESS


@BOTH
def test_threads_are_allowed_and_processes_and_namespaces_are_not(architecture: Architecture) -> None:
    thread = 0x3D0F00
    assert said(architecture, "clone", thread) == ALLOW
    assert said(architecture, "clone", 17) == EPERM
    assert said(architecture, "clone", thread | 0x10000000) == EPERM
    assert said(architecture, "clone3") == ENOSYS
    assert said(architecture, "clone", 17, permitted=frozenset({"clone"})) == ALLOW


@BOTH
def test_signals_reach_this_process_and_named_ones(architecture: Architecture) -> None:
    for name in ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
        assert said(architecture, name, OWN) == ALLOW
        # Nought is the group, -1 is everybody.
        for other in (STRANGER, 0, 0xFFFFFFFF):
            assert said(architecture, name, other) == EPERM
    assert said(architecture, "kill", STRANGER, signals_to=(STRANGER,)) == ALLOW
    assert said(architecture, "tkill", OWN) == EPERM


@BOTH
def test_device_controls_are_those_of_the_given_kinds(architecture: Architecture) -> None:
    tiocsti, tiocgwinsz, vidioc_querycap, vt_activate = 0x5412, 0x5413, 0x80685600, 0x5606
    camera = (IoctlKind(0x56),)
    assert said(architecture, "ioctl", 0, tiocsti) == EPERM
    assert said(architecture, "ioctl", 0, tiocsti, ioctls=camera) == EPERM
    # The kernel does not look at the upper half of the number, and neither may a filter.
    assert said(architecture, "ioctl", 0, 0xFF00000000 | tiocsti) == EPERM
    assert said(architecture, "ioctl", 0, tiocgwinsz) == ALLOW
    assert said(architecture, "ioctl", 0, vidioc_querycap) == EPERM
    assert said(architecture, "ioctl", 0, vidioc_querycap, ioctls=camera) == ALLOW
    # The console's own controls have the same letter and no direction.
    assert said(architecture, "ioctl", 0, vt_activate, ioctls=camera) == EPERM
    assert said(architecture, "ioctl", 0, vt_activate, ioctls=(IoctlKind(0x56, plain=True),)) == ALLOW


@BOTH
def test_a_process_can_be_made_undumpable_and_never_dumpable(architecture: Architecture) -> None:
    assert said(architecture, "prctl", 4, 0) == ALLOW
    assert said(architecture, "prctl", 4, 1) == EPERM
    assert said(architecture, "prctl", 4, 1 << 32) == EPERM
    # PR_SET_PTRACER, PR_SET_MM, PR_CAP_AMBIENT, PR_SET_SYSCALL_USER_DISPATCH
    for option in (0x59616D61, 35, 47, 59):
        assert said(architecture, "prctl", option) == EPERM
    assert said(architecture, "prctl", 15) == ALLOW


@BOTH
def test_limits_are_read_and_not_changed(architecture: Architecture) -> None:
    assert said(architecture, "prlimit64", 0, 4, 0, 0x7F0000001000) == ALLOW
    assert said(architecture, "prlimit64", 0, 4, 0x7F0000001000, 0) == EPERM
    # A pointer whose lower half is nought is a pointer.
    assert said(architecture, "prlimit64", 0, 4, 0x7F00000000, 0) == EPERM


@BOTH
def test_no_device_is_made_and_no_signal_is_redirected(architecture: Architecture) -> None:
    assert said(architecture, "mknodat", 0, 0, 0o010600) == ALLOW
    for kind in (0o020600, 0o060600, 0o140600):
        assert said(architecture, "mknodat", 0, 0, kind) == EPERM
    assert said(architecture, "fcntl", 0, 3) == ALLOW
    for command in (8, 10, 15, 1024, 1026):
        assert said(architecture, "fcntl", 0, command) == EPERM


def test_rules_are_alternatives_and_their_conditions_all_hold() -> None:
    rules = ((Condition(0, 1), Condition(1, 2)), (Condition(0, 3),))
    program = filter_program(X86, FilterPolicy(frozenset(), {"ioctl": rules}))
    for arguments, expected in (((1, 2), ALLOW), ((1, 3), EPERM), ((3, 9), ALLOW), ((2, 2), EPERM)):
        assert verdict(program, 16, X86.audit, *arguments) == expected


@BOTH
def test_the_tables_name_every_number_once(architecture: Architecture) -> None:
    assert len(set(architecture.numbers.values())) == len(architecture.numbers)
    tables = (set(ORDINARY_CALLS), set(RULED_CALLS), set(REFUSED_CALLS))
    assert sum(map(len, tables)) == len(set.union(*tables))
    assert set(range(424, NEWEST_KNOWN + 1)) <= set(architecture.numbers.values())


@BOTH
def test_a_program_fits_the_kernels_limit(architecture: Architecture) -> None:
    kinds = tuple(IoctlKind(letter) for letter in range(40))
    program = filter_program(architecture, ordinary_policy(OWN, ioctls=kinds, signals_to=tuple(range(20))))
    assert len(program) < 4096
    assert all(len(step.packed()) == 8 for step in program)
