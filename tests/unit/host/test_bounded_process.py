"""A program's answer that grows, lasts or stays silent without end is ended; everything else comes whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgepose.errors import DeployError, ModelError
from edgepose.host.bounded_process import MIB, Answer, AnswerLimits, BoundedCall, run_bounded


def call(code: str, **changes: object) -> Answer:
    limits = AnswerLimits(bytes=MIB, silence_s=60.0, total_s=60.0)
    return run_bounded(replace(BoundedCall([sys.executable, "-c", code], "the device", limits), **changes))  # type: ignore[arg-type]


def test_an_answer_within_the_limits_comes_whole() -> None:
    answer = call("import sys; sys.stdout.write('o' * 300_000); sys.stderr.write('e' * 300_000); sys.exit(3)")
    assert answer == Answer(3, b"o" * 300_000, "e" * 300_000)


def test_what_is_said_arrives_while_the_answer_comes() -> None:
    # Each side fills its pipe many times over, which would block two that take turns.
    code = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line)"
    pieces = [b"x" * 9_999 + b"\n"] * 90
    assert call(code, stdin=iter(pieces)).stdout == b"".join(pieces)


def test_who_does_not_read_what_is_said_still_answers() -> None:
    assert call("print('no')", stdin=[b"x" * MIB] * 4).stdout == b"no\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_endless_answer_is_cut_off_in_bounded_memory(stream: str) -> None:
    before = peak_mib()
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 65536)"
    with pytest.raises(DeployError, match="the device answered with more than 1 MiB"):
        call(code)
    assert peak_mib() - before < 32


def test_a_silent_program_is_ended(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = (
        f"import os, pathlib, time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(600)"
    )
    with pytest.raises(DeployError, match="has been silent for 5 s"):
        call(code, limits=AnswerLimits(silence_s=5.0))
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_a_program_that_trickles_is_ended() -> None:
    code = "import sys, time\nwhile True: print('x', flush=True); time.sleep(0.1)"
    with pytest.raises(ModelError, match="did not end within 2 s"):
        call(code, limits=AnswerLimits(silence_s=60.0, total_s=2.0), error=ModelError)


def test_progress_in_what_is_said_is_no_silence() -> None:
    def slowly() -> Iterator[bytes]:
        import time

        for _ in range(6):
            time.sleep(0.5)
            yield b"x"

    code = "import sys; print(len(sys.stdin.read()))"
    assert call(code, stdin=slowly(), limits=AnswerLimits(silence_s=1.5)).stdout == b"6\n"


def test_a_child_that_keeps_the_pipes_open_does_not_hold_the_answer_up() -> None:
    code = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)']); "
        "print('done')"
    )
    assert call(code, limits=AnswerLimits(silence_s=60.0, total_s=15.0)).stdout == b"done\n"


def test_output_that_is_taken_piece_by_piece_is_not_kept() -> None:
    taken = []
    answer = call(
        "import sys; sys.stdout.write('x' * 3_000_000)", on_output=lambda piece: taken.append(len(piece))
    )
    assert answer.stdout == b""
    assert sum(taken) == 3_000_000


def test_a_program_that_asks_to_stay_is_killed() -> None:
    stays = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"import signal, time; {stays}; print(1, flush=True); time.sleep(99)"
    with pytest.raises(DeployError, match="silent"):
        call(code, limits=AnswerLimits(silence_s=1.0))


def peak_mib() -> float:
    """Memory of this process now; the peak would be another test's."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB
