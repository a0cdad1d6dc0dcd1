"""Training for a few steps: repeatable, exactly resumed after a kill, exported like any other model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepose.host.distill.batches import BatchSettings, BatchSource
from edgepose.host.distill.checkpoints import Checkpoint, CheckpointFolder
from tests.support.distill_samples import TINY, sample_cache
from tests.support.waiting import until

PROJECT = Path(__file__).resolve().parents[2]
STEPS, EVERY = 60, 5


def _worker(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    call = [sys.executable, "-m", "tests.support.distill_worker", str(folder), str(STEPS), str(EVERY)]
    return subprocess.Popen(call, cwd=PROJECT, env=environment, stderr=subprocess.DEVNULL)


def _last(folder: Path) -> Checkpoint:
    found, notes = CheckpointFolder(folder / "checkpoints").load_latest({"steps": STEPS})
    assert found is not None
    assert notes == []
    return found


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights_as_an_unbroken_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = _worker(whole)
    victim = _worker(broken)
    second = broken / "checkpoints" / f"step-{2 * EVERY:08d}.npz"
    until(lambda: second.exists() or victim.poll() is not None, "the second checkpoint", limit_s=600)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert 2 * EVERY <= _last(broken).step < STEPS, "the kill came too late to show anything"
    assert _worker(broken).wait(600) == 0
    assert unbroken.wait(600) == 0
    expected, found = _last(whole), _last(broken)
    assert (expected.step, found.step) == (STEPS, STEPS)
    assert len(expected.arrays) == len(found.arrays) > 40
    for index, (one, other) in enumerate(zip(expected.arrays, found.arrays, strict=True)):
        assert np.array_equal(one, other), f"array {index} differs"
    steps = [json.loads(line)["step"] for line in (broken / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_training_learns_and_keypoints_of_weight_0_teach_nothing() -> None:
    from edgepose.host.distill.trainer import OptimizerSettings, Trainer, configure_backend

    configure_backend(0, None)
    trainer = Trainer(TINY, OptimizerSettings())
    batches = BatchSource(sample_cache(), TINY, BatchSettings(4, 0))
    batch = batches.batch(0)
    losses = [trainer.step(batch, 2e-3) for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]
    _assert_weight_0_gives_no_gradient(batch.targets[:2])


@pytest.mark.slow
def test_training_starts_from_earlier_weights_of_the_same_network_and_no_other(tmp_path: Path) -> None:
    from dataclasses import replace

    from edgepose.errors import ModelError
    from edgepose.host.distill.trainer import OptimizerSettings, Trainer, configure_backend

    configure_backend(0, None)
    first = Trainer(TINY, OptimizerSettings())
    first.step(BatchSource(sample_cache(), TINY, BatchSettings(4, 0)).batch(0), 2e-3)
    earlier = tmp_path / "earlier.keras"
    student = first.averaged_student()
    student.save(earlier)
    width, height = TINY.input_wh
    larger = Trainer(replace(TINY, input_wh=(2 * width, 2 * height)), OptimizerSettings())
    before = larger.arrays()
    larger.start_from(earlier)
    kept = student.get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(larger.arrays(), kept, strict=False))
    assert not all(np.array_equal(one, other) for one, other in zip(before, kept, strict=False))
    other = Trainer(replace(TINY, stem=TINY.stem + 4), OptimizerSettings())
    with pytest.raises(ModelError, match="holds another network"):
        other.start_from(earlier)
    earlier.write_bytes(earlier.read_bytes()[:1000])
    with pytest.raises(ModelError, match="damaged"):
        larger.start_from(earlier)


def _assert_weight_0_gives_no_gradient(targets: np.ndarray) -> None:
    import tensorflow as tf

    from edgepose.host.distill.trainer import heatmap_loss

    width, height = TINY.map_wh
    weighted = targets.copy()
    weighted[:, 0, 3] = 0.0
    weighted[:, 0, 4] = 1.0
    maps = tf.Variable(np.full((2, height, width, 17), 0.5, np.float32))
    with tf.GradientTape() as tape:
        loss = heatmap_loss(tf.constant(weighted), maps)
    gradient = np.asarray(tape.gradient(loss, maps))
    assert np.all(gradient[..., 3] == 0)
    assert np.abs(gradient[..., 4]).max() > 0


@pytest.mark.slow
def test_the_command_writes_a_model_that_the_other_commands_take(
    tmp_path: Path, marker_set: Path, marker_pairs: Path, marker_onnx: Path, marker_spec: Path
) -> None:
    out = tmp_path / "student"
    call = [sys.executable, "-m", "edgepose", "distill", "--teacher", str(marker_onnx)]
    call += ["--spec", str(marker_spec), "--student", "edgepose-n", "--images", str(marker_set)]
    call += ["--validate", str(marker_pairs), "--steps", "4", "--validate-every", "2"]
    call += ["--batch-size", "4", "--qat-steps", "3", "--json", "-", "-o", str(out)]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads(done.stdout)
    assert record == json.loads((out / "distillation.json").read_text())
    assert (record["schema"], record["steps_done"], record["ended_by"]) == (
        "edgepose.distillation/1",
        4,
        "steps",
    )
    assert record["teacher"]["targets"] == "heatmaps"
    assert record["data"]["persons"] == 24
    assert record["evaluation"]["dataset"]["persons"] == 24
    assert (out / "model.keras").is_file()
    validated = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in validated if "validation" in line] == [2, 4]
    tuned = record["quantization_aware"]
    assert (tuned["steps"], tuned["measured_on"], tuned["model"]["integer_only"]) == (3, "validation", True)
    assert tuned["mean_steps_apart"] < 1
    assert all(tuned[form]["oks_ap"] is not None for form in ("fake_quantized", "converted", "plain"))
    assert tuned["float_student"]["oks_ap"] == record["evaluation"]["metrics"]["oks_ap"]["value"]
    assert (out / "model_int8.tflite").is_file()
    _assert_is_an_ordinary_model(out / "model.tflite", "tflite", record["teacher"]["sha256"])
    _assert_is_an_ordinary_model(out / "model.onnx", "onnx", record["teacher"]["sha256"])


def _assert_is_an_ordinary_model(model: Path, model_format: str, teacher_sha256: str) -> None:
    from edgepose.host.models.artifact import open_artifact

    artifact = open_artifact(model)
    assert (artifact.format, artifact.precision, artifact.spec.name) == (
        model_format,
        "float32",
        "edgepose-n",
    )
    assert artifact.lineage is not None
    assert artifact.lineage.parents[0].sha256 == teacher_sha256
    assert artifact.lineage.parents[0].step == "distil: teacher"
    assert len(artifact.lineage.golden) > 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "either --teacher or --labels-only"),
        (["--labels-only", "--teacher", "x.onnx"], 2, "either --teacher or --labels-only"),
        (["--labels-only", "--annotations", "a", "--annotations", "b"], 2, "once for each --images"),
        (["--labels-only", "--validate", "SET"], 3, "both learned from and validated on"),
        (["--labels-only", "--student", "vit"], 3, "no student 'vit'"),
        (["--labels-only", "--start", "absent.keras"], 3, "no file absent.keras"),
        (["--labels-only", "--student", "edgepose-n", "--input-size", "100x128"], 3, "multiple of 32"),
        (["--labels-only", "--input-size", "100"], 2, "not WIDTHxHEIGHT"),
        (["--teacher", "missing.onnx"], 5, "missing.onnx"),
    ],
)
def test_wrong_calls_end_with_their_exit_code_and_say_why(
    tmp_path: Path, marker_set: Path, arguments: list[str], code: int, message: str
) -> None:
    from click.testing import CliRunner

    from edgepose.cli.distill import command
    from edgepose.errors import EdgeposeError

    call = ["--student", "edgepose-n", "--images", str(marker_set), "-o", str(tmp_path / "out"), *arguments]
    call = [str(marker_set) if part == "SET" else part for part in call]
    result = CliRunner().invoke(command, call)
    if isinstance(result.exception, EdgeposeError):
        assert result.exception.exit_code == code
        assert message in str(result.exception)
    else:
        assert result.exit_code == code
        assert message in result.output
