"""A short run of the model fuzz; the long one is ``benchmarks/fuzz_models.py``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.support.hostile_models import keras_archive, keras_h5

_BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(name="fuzzer")
def _fuzzer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(_BENCHMARKS))
    import fuzz_models

    return fuzz_models


def _subjects(fuzzer: ModuleType, folder: Path) -> dict[str, list[Path]]:
    folder.mkdir()
    subjects: dict[str, list[Path]] = fuzzer.make_subjects(folder, with_tensorflow=False)
    subjects["keras"] = [keras_archive(folder / "model.keras")]
    subjects["keras_h5"] = [keras_h5(folder / "model.h5", lambda _stored: None)]
    return subjects


def test_no_harmed_model_crashes_hangs_or_writes_elsewhere(fuzzer: ModuleType, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    result = fuzzer.fuzz(_subjects(fuzzer, tmp_path / "models"), root, 400, seed=1)
    assert (result.crashed, result.hung, result.wrote_outside, result.processes_left) == ([], [], [], [])
    assert sum(sum(outcomes.values()) for outcomes in result.outcomes.values()) == 400
    for name in ("onnx", "tflite", "keras", "keras_h5"):
        refused = sum(n for outcome, n in result.outcomes[name].items() if outcome.startswith("ModelError"))
        assert refused >= 20, name


def test_the_fuzz_notices_crashes_tracebacks_and_files_elsewhere(fuzzer: ModuleType, tmp_path: Path) -> None:
    """The control: a reader that does everything wrong."""
    root, written = tmp_path / "root", 0
    root.mkdir()

    def judge(path: Path, _folder: Path) -> str:
        nonlocal written
        written += 1
        if written == 1:
            (root / "elsewhere").touch()
        if written == 2:
            raise IndexError(path)
        if written == 3:
            fuzzer.os.abort()
        return "accepted"

    result = fuzzer.FuzzResult()
    models = {"keras": [keras_archive(tmp_path / "model.keras")]}
    fuzzer.run_batch(judge, models, [("keras", number) for number in range(3)], 1, root, result)
    assert [line.split("/")[-1] for line in result.wrote_outside] == ["elsewhere"]
    assert len(result.crashed) == 2
