"""Pushes an app folder to a phone with Android's adb, and times the model there with LiteRT's own program."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import ConfigError, DeployError, MissingDependencyError
from edgepose.host.bounded_process import MIB, AnswerLimits, BoundedCall, run_bounded
from edgepose.sandbox.python_child import find_program

PLACE = "/data/local/tmp/edgepose"
_LIMITS = AnswerLimits(bytes=16 * MIB, silence_s=300.0, total_s=900.0)
# What LiteRT's benchmark_model prints at its end (tensorflow/lite/tools/benchmark/README.md).
_TIMINGS = re.compile(
    r"Inference timings in us: Init: (?P<init>[0-9.e+]+), First inference: (?P<first>[0-9.e+]+), "
    r"Warmup \(avg\): (?P<warmup>[0-9.e+]+), Inference \(avg\): (?P<mean>[0-9.e+]+)"
)
_DELEGATED = re.compile(r"Explicitly applied (\S+) delegate, and the model graph will be (\w+) executed")


@dataclass(frozen=True)
class PhoneTimings:
    """What benchmark_model printed.

    Attributes:
        init_ms: Loading.
        first_inference_ms: The first one.
        mean_ms: Mean of those after the warm-up; it prints no percentiles.
        delegate: The delegate that it says it applied, or None.
    """

    init_ms: float
    first_inference_ms: float
    mean_ms: float
    delegate: str | None


@dataclass(frozen=True)
class Phone:
    """A phone behind adb.

    Attributes:
        serial: Which one; None where there is one only.
    """

    serial: str | None = None

    def push(self, folder: Path) -> str:
        """Copies a folder; returns where it is.

        Raises:
            MissingDependencyError: There is no adb.
            DeployError: There is no phone, or it does not take the files.
        """
        self._adb("shell", "rm", "-rf", PLACE)
        self._adb("push", str(folder.absolute()), PLACE)
        return PLACE

    def benchmark(self, program: Path, threads: int) -> PhoneTimings:
        """Runs LiteRT's ``benchmark_model``, which the user brings, on the pushed model.

        Raises:
            ConfigError: There is no such program here.
            MissingDependencyError: There is no adb.
            DeployError: The phone cannot run it, or it printed no timings.
        """
        if not program.is_file():
            raise ConfigError(f"{program} is no file.", "Give LiteRT's benchmark_model for android_arm64.")
        there = f"{PLACE}/benchmark_model"
        self._adb("push", str(program.absolute()), there)
        self._adb("shell", "chmod", "755", there)
        said = self._adb(
            "shell", there, f"--graph={PLACE}/pose.tflite", f"--num_threads={threads}", "--use_xnnpack=true"
        )
        return parse_timings(said)

    def _adb(self, *words: str) -> str:
        adb = find_program("adb")
        if adb is None:
            raise MissingDependencyError("There is no adb here.", "Install it: apt install adb")
        chosen = [] if self.serial is None else ["-s", self.serial]
        done = run_bounded(BoundedCall([adb, *chosen, *words], f"The phone's adb {words[0]}", _LIMITS))
        stdout = done.stdout.decode(errors="replace")
        if done.code:
            lines = (done.stderr or stdout).strip().splitlines()
            raise DeployError(
                f"adb {words[0]} failed: {lines[-1] if lines else 'no message'}.",
                "Is the phone plugged in, unlocked, and USB debugging allowed? See: adb devices",
            )
        return stdout + done.stderr


def parse_timings(text: str) -> PhoneTimings:
    """Reads what benchmark_model printed.

    Raises:
        DeployError: It holds no timings.
    """
    found = _TIMINGS.search(text)
    if found is None:
        last = text.strip().splitlines()[-1:] or ["nothing"]
        raise DeployError(f"benchmark_model printed no timings; it ended with: {last[0]}")
    delegate = _DELEGATED.search(text)
    return PhoneTimings(
        init_ms=float(found["init"]) / 1000,
        first_inference_ms=float(found["first"]) / 1000,
        mean_ms=float(found["mean"]) / 1000,
        delegate=f"{delegate[1]}, {delegate[2]}" if delegate else None,
    )
