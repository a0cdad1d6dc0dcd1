"""The filter, run by an interpreter of its own: what it allows and refuses on both architectures."""

from __future__ import annotations

import errno

import pytest

from edgepose.device.sandbox.filter_program import (
    ALLOW,
    ERRNO,
    KILL_PROCESS,
    Instruction,
    filter_program,
)
from edgepose.device.sandbox.syscalls import ARCHITECTURES

X86, ARM = ARCHITECTURES["x86_64"], ARCHITECTURES["aarch64"]
CLONE_THREAD = 0x10000
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS


def verdict(program: list[Instruction], number: int, audit: int, first_argument: int = 0) -> int:
    """Runs a program as the kernel's documentation says (networking/filter.rst)."""
    data = {0: number, 4: audit, 16: first_argument}
    accumulator = position = 0
    for _ in range(len(program)):
        step = program[position]
        position += 1
        if step.code == 0x20:
            accumulator = data[step.value]
        elif step.code == 0x06:
            return step.value
        else:
            holds = {
                0x15: accumulator == step.value,
                0x35: accumulator >= step.value,
                0x45: bool(accumulator & step.value),
            }[step.code]
            position += step.if_true if holds else step.if_false
    raise AssertionError("the program does not end")


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_every_named_call_is_refused_and_the_others_are_not(name: str) -> None:
    architecture = ARCHITECTURES[name]
    program = filter_program(architecture)
    refused = set(architecture.numbers.values())
    special = {architecture.clone, architecture.clone3}
    for number in range(600):
        expected = EPERM if number in refused else ALLOW
        if number not in special:
            assert verdict(program, number, architecture.audit) == expected, number


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_threads_are_allowed_and_processes_are_not(name: str) -> None:
    architecture = ARCHITECTURES[name]
    program = filter_program(architecture)
    assert verdict(program, architecture.clone, architecture.audit, CLONE_THREAD | 0x3D0F00) == ALLOW
    assert verdict(program, architecture.clone, architecture.audit, 17) == EPERM
    assert verdict(program, architecture.clone3, architecture.audit) == ENOSYS


def test_another_architecture_ends_the_process_and_x32_is_refused() -> None:
    program = filter_program(X86)
    assert verdict(program, 41, ARM.audit) == KILL_PROCESS
    assert verdict(program, 0x40000000 + 41, X86.audit) == EPERM


def test_both_tables_refuse_the_same_calls() -> None:
    # aarch64 has no fork and vfork of their own.
    assert set(X86.numbers) - set(ARM.numbers) == {"fork", "vfork"}
    assert set(ARM.numbers) <= set(X86.numbers)


def test_a_program_fits_the_kernels_limit() -> None:
    program = filter_program(X86)
    assert len(program) < 4096
    assert all(len(step.packed()) == 8 for step in program)
