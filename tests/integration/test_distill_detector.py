"""`edgepose distill --student edgepose-d`: a few steps, from the command line to a detector that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def distill(*arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "edgepose", "distill", "--student", "edgepose-d", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_a_detector_is_trained_from_labels_resumed_and_runs(
    marker_set: Path, marker_pairs: Path, tmp_path: Path
) -> None:
    import onnx

    from edgepose.runtime.open_model import open_detector

    out = tmp_path / "detector"
    common = ("--labels-only", "--images", marker_set, "--validate", marker_pairs, "--batch-size", 4)
    common += ("--steps", 6, "--validate-every", 3, "--checkpoint-every", 3, "--json", "-", "-o", out)
    done = distill(*common)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads(done.stdout)
    assert record == json.loads((out / "distillation.json").read_text())
    assert (record["schema"], record["steps_done"]) == ("edgepose.detector_distillation/1", 6)
    assert (record["data"]["images"], record["data"]["images_without_person"]) == (24, 0)
    assert record["evaluation"]["persons"] == 24
    assert record["teacher_evaluation"] is None
    answers = []
    for name in ("model.onnx", "model.tflite"):
        detector = open_detector(out / name, score_threshold=0.0001)
        answers.append(detector.detect(np.full((240, 320, 3), 90, np.uint8))[0])
    assert len(answers[0]) == len(answers[1])
    # The lineage names model.keras, a zip file that holds the time.
    graph = onnx.load(out / "model.onnx").graph.SerializeToString(deterministic=True)
    again = distill(*common)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "going on from step 6" in again.stderr
    assert onnx.load(out / "model.onnx").graph.SerializeToString(deterministic=True) == graph


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--labels-only", "--local-workers", "2"], 2, "trained in one process"),
        (["--labels-only", "--input-size", "100x100"], 3, "multiple of 32"),
        (["--labels-only", "--validate", "SET"], 3, "both learned from and validated on"),
    ],
)
def test_wrong_calls_end_with_their_exit_code(
    marker_set: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    words = [str(marker_set) if word == "SET" else word for word in arguments]
    done = distill(*words, "--images", marker_set, "-o", tmp_path / "out")
    assert done.returncode == code, done.stderr
    assert message in done.stderr
