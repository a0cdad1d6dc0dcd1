"""The filter as the kernel takes it: classic BPF over ``struct seccomp_data`` (seccomp(2)). Pure."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from edgepose.device.sandbox.syscalls import Architecture

# include/uapi/linux/bpf_common.h and seccomp.h
_LOAD_WORD = 0x20
_JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT = 0x15, 0x35, 0x45
_RETURN = 0x06
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
# include/uapi/linux/sched.h
_CLONE_THREAD = 0x00010000


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        code: What it does.
        if_true: How many instructions a jump skips when its condition holds.
        if_false: How many otherwise.
        value: Its operand.
    """

    code: int
    if_true: int
    if_false: int
    value: int

    def packed(self) -> bytes:
        """``struct sock_filter``."""
        return struct.pack("<HBBI", self.code, self.if_true, self.if_false, self.value)


def filter_program(architecture: Architecture, permitted: frozenset[str] = frozenset()) -> list[Instruction]:
    """Refuses what the architecture's table names, processes, and other calling conventions.

    Args:
        architecture: Whose numbers.
        permitted: Names of the table that are not refused; ``clone`` also permits processes.

    Refused calls fail with EPERM; ``clone3`` with ENOSYS, upon which C libraries use ``clone``, whose flags
    can be seen. Another architecture ends the process.
    """
    refuse = Instruction(_RETURN, 0, 0, ERRNO | errno.EPERM)
    program = [
        Instruction(_LOAD_WORD, 0, 0, _ARCHITECTURE_AT),
        Instruction(_JUMP_EQUAL, 1, 0, architecture.audit),
        Instruction(_RETURN, 0, 0, KILL_PROCESS),
        Instruction(_LOAD_WORD, 0, 0, _NUMBER_AT),
    ]
    if architecture.first_foreign is not None:
        program += [Instruction(_JUMP_AT_LEAST, 0, 1, architecture.first_foreign), refuse]
    for number in sorted(number for name, number in architecture.numbers.items() if name not in permitted):
        program += [Instruction(_JUMP_EQUAL, 0, 1, number), refuse]
    program += [
        Instruction(_JUMP_EQUAL, 0, 1, architecture.clone3),
        Instruction(_RETURN, 0, 0, ERRNO | errno.ENOSYS),
    ]
    if "clone" in permitted:
        return [*program, Instruction(_RETURN, 0, 0, ALLOW)]
    return [
        *program,
        Instruction(_JUMP_EQUAL, 0, 3, architecture.clone),
        Instruction(_LOAD_WORD, 0, 0, _FIRST_ARGUMENT_AT),
        Instruction(_JUMP_ANY_BIT, 1, 0, _CLONE_THREAD),
        refuse,
        Instruction(_RETURN, 0, 0, ALLOW),
    ]
