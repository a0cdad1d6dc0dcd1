"""Checkpoints: whole files, the last two, with everything that a run needs to go on exactly."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.records.files import write_whole

_KEPT = 2
_PATTERN = "step-*.npz"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a run between two steps.

    Attributes:
        step: Steps done.
        elapsed_s: Training time so far, all sessions together.
        fingerprint: What the run is: options, data, teacher. Another one cannot go on from here.
        arrays: Weights, running statistics and optimizer state, in the order of the trainer.
    """

    step: int
    elapsed_s: float
    fingerprint: dict[str, Any]
    arrays: tuple[NDArray[np.generic], ...]


class CheckpointFolder:
    """Where a run keeps its checkpoints."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, checkpoint: Checkpoint) -> Path:
        """Writes a checkpoint beside the earlier ones, then drops all but the last two.

        Raises:
            ConfigError: It cannot be written, for example on a full disk; the earlier ones are whole.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise ConfigError(f"Cannot make {self._folder}: {problem.strerror}.") from problem
        path = self._folder / f"step-{checkpoint.step:08d}.npz"
        try:
            write_whole(path, [_to_bytes(checkpoint)])
        except ConfigError as problem:
            kept = self._files()
            earlier = f"{kept[-1].name} is whole" if kept else "there is no earlier one"
            raise ConfigError(
                f"{problem.message} The checkpoint of step {checkpoint.step} is lost, {earlier}.",
                "Free some space and run the same command again: it goes on from there.",
            ) from problem
        for old in self._files()[:-_KEPT]:
            old.unlink()
        return path

    def load_latest(self, fingerprint: dict[str, Any]) -> tuple[Checkpoint | None, list[str]]:
        """The newest readable checkpoint, and what was found on the way to it.

        Raises:
            ConfigError: The checkpoint is another run's, or all of them are damaged.
        """
        notes = []
        files = self._files()
        for path in reversed(files):
            try:
                checkpoint = _from_bytes(path.read_bytes())
            except (
                OSError,
                EOFError,
                ValueError,
                KeyError,
                zipfile.BadZipFile,
                msgspec.MsgspecError,
            ) as problem:
                notes.append(f"{path.name} is damaged ({problem}); trying the one before.")
                continue
            _require_same_run(checkpoint.fingerprint, fingerprint, path)
            return checkpoint, notes
        if files:
            raise ConfigError(
                f"No checkpoint in {self._folder} is readable.", "Remove the folder to start anew."
            )
        return None, notes

    def _files(self) -> Sequence[Path]:
        return sorted(self._folder.glob(_PATTERN)) if self._folder.is_dir() else []


def _require_same_run(stored: dict[str, Any], current: dict[str, Any], path: Path) -> None:
    # Through JSON, so that tuples and lists compare equal.
    current = msgspec.json.decode(msgspec.json.encode(current))
    changed = sorted(name for name in {*stored, *current} if stored.get(name) != current.get(name))
    if changed:
        differences = ", ".join(f"{name} was {stored.get(name)}, is {current.get(name)}" for name in changed)
        raise ConfigError(
            f"{path} belongs to another run: {differences}.",
            "Give -o another folder, or the options of that run.",
        )


def _to_bytes(checkpoint: Checkpoint) -> bytes:
    head = {
        "step": checkpoint.step,
        "elapsed_s": checkpoint.elapsed_s,
        "fingerprint": checkpoint.fingerprint,
        "arrays": len(checkpoint.arrays),
    }
    stream = io.BytesIO()
    named = {f"array-{index:05d}": array for index, array in enumerate(checkpoint.arrays)}
    np.savez(stream, head=np.frombuffer(msgspec.json.encode(head), np.uint8), **named)  # type: ignore[arg-type]
    return stream.getvalue()


def _from_bytes(data: bytes) -> Checkpoint:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        head = msgspec.json.decode(stored["head"].tobytes())
        arrays = tuple(stored[f"array-{index:05d}"] for index in range(head["arrays"]))
    return Checkpoint(head["step"], head["elapsed_s"], head["fingerprint"], arrays)
