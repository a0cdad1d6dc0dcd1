"""A filter of system calls as the kernel takes it (classic BPF, seccomp(2)), for all threads and for good."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edgepose.sandbox.syscalls import ARCHITECTURES, NEWEST_KNOWN, ORDINARY_CALLS, Architecture

# include/uapi/linux/bpf_common.h and seccomp.h
_LOAD_WORD, _AND = 0x20, 0x54
_JUMP, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_AT_LEAST = 0x05, 0x15, 0x25, 0x35
_RETURN = 0x06
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_WORD = 0xFFFFFFFF


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


@dataclass(frozen=True)
class Condition:
    """What an argument must be.

    Attributes:
        argument: Which one, from 0.
        value: What it must equal.
        mask: Which of its bits are looked at. The kernel reads the low 32 bits of an ``int`` alone; a pointer
            or a ``long`` needs all 64.
    """

    argument: int
    value: int
    mask: int = _WORD


# All of it must hold.
Rule = tuple[Condition, ...]


@dataclass(frozen=True)
class FilterPolicy:
    """What a process may call; everything else fails.

    Attributes:
        allowed: Names of calls that are allowed whatever their arguments are.
        ruled: Calls that are allowed when one of their rules holds. An allowed call needs no rule.
    """

    allowed: frozenset[str] = frozenset(ORDINARY_CALLS)
    ruled: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)


def filter_program(architecture: Architecture, policy: FilterPolicy) -> list[Instruction]:
    """Allows what the policy names and refuses everything else, in whatever calling convention.

    A refused call fails with EPERM. One that the tables do not know, which includes all numbers of x32, fails
    with ENOSYS, and so does ``clone3``, upon which C libraries use ``clone``, whose flags can be seen.
    Another architecture ends the process.
    """
    numbers = architecture.numbers
    program = [
        Instruction(_LOAD_WORD, 0, 0, _ARCHITECTURE_AT),
        Instruction(_JUMP_EQUAL, 1, 0, architecture.audit),
        Instruction(_RETURN, 0, 0, KILL_PROCESS),
        Instruction(_LOAD_WORD, 0, 0, _NUMBER_AT),
    ]
    for first, last in _ranges(sorted(numbers[name] for name in policy.allowed if name in numbers)):
        program += [
            Instruction(_JUMP_AT_LEAST, 0, 2, first),
            Instruction(_JUMP_ABOVE, 1, 0, last),
            Instruction(_RETURN, 0, 0, ALLOW),
        ]
    for name, rules in sorted(policy.ruled.items()):
        if name in numbers and name not in policy.allowed:
            program += _decided_by_arguments(numbers[name], rules)
    return [
        *program,
        Instruction(_JUMP_EQUAL, 1, 0, numbers["clone3"]),
        Instruction(_JUMP_ABOVE, 0, 1, NEWEST_KNOWN),
        Instruction(_RETURN, 0, 0, ERRNO | errno.ENOSYS),
        Instruction(_RETURN, 0, 0, ERRNO | errno.EPERM),
    ]


def _ranges(numbers: list[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for number in numbers:
        if first is None or last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last


def _decided_by_arguments(number: int, rules: tuple[Rule, ...]) -> list[Instruction]:
    block = [step for rule in rules for step in _rule(rule)]
    block.append(Instruction(_RETURN, 0, 0, ERRNO | errno.EPERM))
    # A conditional jump reaches 255 instructions; this one reaches as far as it must.
    return [Instruction(_JUMP_EQUAL, 1, 0, number), Instruction(_JUMP, 0, 0, len(block)), *block]


def _rule(rule: Rule) -> list[Instruction]:
    """Ends with ALLOW; where a condition does not hold, the next rule's first instruction follows."""
    tests: list[Instruction] = []
    for condition in rule:
        at = _ARGUMENTS_AT + 8 * condition.argument
        for word_at, shift in ((at, 0), (at + 4, 32)):
            mask = condition.mask >> shift & _WORD
            if not mask:
                continue
            tests.append(Instruction(_LOAD_WORD, 0, 0, word_at))
            if mask != _WORD:
                tests.append(Instruction(_AND, 0, 0, mask))
            tests.append(Instruction(_JUMP_EQUAL, 0, 0, condition.value >> shift & mask))
    steps = [*tests, Instruction(_RETURN, 0, 0, ALLOW)]
    return [
        Instruction(step.code, 0, len(steps) - 1 - place, step.value) if step.code == _JUMP_EQUAL else step
        for place, step in enumerate(steps)
    ]


# include/uapi/linux/prctl.h and seccomp.h
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _TSYNC = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def load_filter(policy: FilterPolicy) -> None:
    """Loads the policy's filter. It holds in every thread, and in every process and program that follows.

    Raises:
        OSError: There is no table for this machine, or the kernel cannot enforce it; nothing was loaded.
    """
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise OSError(f"there is no filter for {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    control(libc, _PR_SET_NO_NEW_PRIVS, 1)
    code = b"".join(instruction.packed() for instruction in filter_program(architecture, policy))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    result = libc.syscall(
        ctypes.c_long(architecture.numbers["seccomp"]),
        ctypes.c_uint(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_uint(_TSYNC),
        ctypes.byref(program),
    )
    if result > 0:
        raise OSError(f"seccomp: thread {result} has a filter of its own")
    if result < 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def control(libc: ctypes.CDLL, option: int, value: int) -> None:
    """``prctl(option, value, 0, 0, 0)``.

    Raises:
        OSError: It failed.
    """
    if libc.prctl(option, ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")
