"""Fine-tuning with int8 rounding: what was learned is what the int8 file computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgepose.errors import ModelError
from edgepose.host.data.calibration_set import CropSample
from edgepose.host.distill.batches import BatchSettings, BatchSource
from edgepose.runtime.backend import run_once
from edgepose.runtime.open_model import open_backend
from tests.support.distill_samples import TINY, sample_cache
from tests.support.qat_student import lively_student, smooth_pictures

STEPS = 6


class Exported(NamedTuple):
    """A student and its float file."""

    student: Any
    model: Path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    from edgepose.host.distill.export import export_student
    from edgepose.host.distill.students import student_spec

    folder = tmp_path_factory.mktemp("student")
    student = lively_student(TINY)
    spec = student_spec(TINY, "generated", "test")
    return Exported(student, export_student(student, spec, (), folder, lambda _line: None))


class Written(NamedTuple):
    """How far an int8 file is from the rounded student, in steps of its output."""

    mean: float
    greatest: float


def _written(exported: Exported, folder: Path, spoil: Any = lambda ranges: ranges) -> Written:
    from edgepose.host.distill.fine_tuning import INPUT_RANGE, learned_recipe
    from edgepose.host.distill.folded_network import fold, moved_input
    from edgepose.host.distill.rounded_student import int8_bytes, rounded_student, steps_of

    folded = fold(exported.student)
    start = moved_input(folded, 0.5 / 127.5)
    rounded = rounded_student(start, INPUT_RANGE)
    pictures = (smooth_pictures(TINY, 8).astype(np.float32) - 128) / np.float32(127.5)
    rounded(pictures, training=True)
    expected = np.asarray(rounded(pictures))
    steps = steps_of(rounded)
    ranges = spoil(steps.learned_ranges())
    learned = start.with_weights(steps.learned_weights())
    data = int8_bytes(exported.model.read_bytes(), folded, learned, ranges, learned_recipe())
    file = folder / "int8.tflite"
    file.write_bytes(data)
    backend = open_backend(file)
    assert backend.input.dtype == backend.outputs[0].dtype == np.int8
    assert (backend.input.zero_point, backend.input.scale) == (0, pytest.approx(1 / 127.5))
    found = [run_once(backend, backend.input.quantize(one[None]))[0] for one in pictures]
    apart = np.abs(np.concatenate(found) - expected) / backend.outputs[0].scale
    return Written(float(apart.mean()), float(apart.max()))


@pytest.mark.parametrize(
    ("fine_tuned", "plain", "kept"),
    [(0.3, 0.2, "fine_tuned"), (0.3, 0.31, "plain"), (0.3, 0.3, "fine_tuned"), (None, None, "fine_tuned")],
)
def test_the_file_that_kept_more_accuracy_is_kept(
    fine_tuned: float | None, plain: float | None, kept: str
) -> None:
    from edgepose.host.distill.fine_tuning import _better
    from edgepose.records.distillation_report import RoundedFigures

    figures = [RoundedFigures(oks_ap=ap, pck=ap, agreement_oks=0.9) for ap in (fine_tuned, plain)]
    assert _better(*figures) == kept


@pytest.mark.slow
def test_the_int8_file_computes_what_was_learned_and_wrong_ranges_are_seen(
    exported: Exported, tmp_path: Path
) -> None:
    good = _written(exported, tmp_path)
    assert good.mean < 0.5
    assert good.greatest <= 4

    def one_range_halved(ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        name = list(ranges)[4]
        low, high = ranges[name]
        return ranges | {name: (low / 2, high / 2)}

    wrong = _written(exported, tmp_path, one_range_halved)
    assert wrong.mean > 3 * good.mean
    assert wrong.greatest > 4


@pytest.mark.slow
def test_weights_learn_through_the_rounding_and_ranges_follow() -> None:
    from edgepose.host.distill.fine_tuning import INPUT_RANGE, ZERO_LEVEL
    from edgepose.host.distill.folded_network import fold
    from edgepose.host.distill.rounded_student import rounded_student, steps_of
    from edgepose.host.distill.trainer import OptimizerSettings, Trainer, configure_backend

    configure_backend(0, None)
    start = fold(lively_student(TINY))
    settings = OptimizerSettings(2e-3, weight_decay=0.0, average=0.5)
    trainer = Trainer(
        TINY, settings, build=lambda _dtype: rounded_student(start, INPUT_RANGE), zero_level=ZERO_LEVEL
    )
    batch = BatchSource(sample_cache(), TINY, BatchSettings(4, 0)).batch(0)
    losses = [trainer.step(batch, 2e-3) for _ in range(25)]
    assert losses[-1] < 0.8 * losses[0]
    steps = steps_of(trainer.averaged_student())
    weights, ranges = steps.learned_weights(), steps.learned_ranges()
    for step in start.convolutions:
        assert np.abs(weights[step.name][0] - step.kernel).max() > 0
    assert all(low <= 0 < high for low, high in ranges.values())
    (resized,) = [step for step in start.steps if step.kind == "resize"]
    assert ranges[resized.name] == ranges[resized.sources[0]]


@pytest.mark.slow
def test_a_step_that_the_file_does_not_have_is_refused(exported: Exported) -> None:
    from edgepose.host.distill.folded_network import fold
    from edgepose.host.distill.rounded_student import find_steps
    from edgepose.host.quantize.repair.float_model import TfliteFloat

    folded, network = fold(exported.student), TfliteFloat.of_file(exported.model).network
    assert set(find_steps(folded, network).tensors.values()) == set(network.shapes)
    name = folded.convolutions[3].name
    kernel, bias = folded.convolutions[3].kernel, folded.convolutions[3].bias
    assert kernel is not None
    with pytest.raises(ModelError, match=f"0 ops that compute convolution '{name}'"):
        find_steps(folded.with_weights({name: (kernel * 1.01, bias)}), network)
    with pytest.raises(ModelError, match="has outputs"):
        find_steps(replace(folded, steps=folded.steps[:-1]), network)


@pytest.mark.slow
# TensorFlow's converter warns of its own use of itself.
@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning")
def test_one_convolution_is_rounded_as_tensorflows_own_converter_rounds_it(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    from edgepose.host.distill.folded_network import fold
    from edgepose.host.distill.rounded_student import rounded_student

    keras.utils.set_random_seed(3)
    picture = keras.Input((12, 10, 3), batch_size=1)
    model = keras.Model(picture, keras.layers.Conv2D(5, 3, padding="same", name="only")(picture))
    values = np.random.default_rng(4).uniform(-1, 1, (1, 12, 10, 3)).astype(np.float32)
    values[0, 0, 0], values[0, 0, 1] = -1.0, 1.0
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[values]]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (tmp_path / "theirs.tflite").write_bytes(converter.convert())
    backend = open_backend(tmp_path / "theirs.tflite")
    theirs = run_once(backend, backend.input.quantize(values))[0]
    rounded = rounded_student(fold(model), (-1.0, 1.0))
    rounded(values, training=True)
    ours = np.asarray(rounded(values))
    step = backend.outputs[0].scale
    assert np.abs(ours - theirs).max() <= 1.01 * step
    assert np.mean(np.abs(ours - theirs) > 0.5 * step) < 0.05
    assert np.abs(np.asarray(model(values)) - theirs).max() > 0.4 * step, "nothing was rounded"


@pytest.mark.slow
def test_fine_tuning_learns_goes_on_after_a_stop_and_writes_an_integer_only_model(
    exported: Exported, marker_set: Path, tmp_path: Path
) -> None:
    from edgepose.host.models.artifact import open_artifact
    from edgepose.host.models.inspect import inspect_model

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    report = _tuned(exported, marker_set, whole)
    with pytest.raises(KeyboardInterrupt):
        _tuned(exported, marker_set, broken, stop_at=4)
    assert not (broken / "model_int8.tflite").exists()
    again = _tuned(exported, marker_set, broken)
    assert (report.resumed_from, again.resumed_from) == (None, 3)
    assert report.loss < 1e4
    assert (whole / "model_int8.tflite").read_bytes() == (broken / "model_int8.tflite").read_bytes()
    assert inspect_model(whole / "model_int8.tflite").integer_only
    artifact = open_artifact(whole / "model_int8.tflite")
    assert (artifact.precision, artifact.spec.input.mean) == ("int8", (128.0,) * 3)
    assert artifact.lineage is not None
    assert artifact.lineage.parents[-1].step == f"quantization-aware fine-tuning, {STEPS} steps"
    # These pictures were learned from: the gate of a bundle must not take their agreement.
    assert (report.measured_on, artifact.lineage.agreement_oks) == ("training", None)
    assert report.mean_steps_apart < 0.5
    assert report.converted.oks_ap is None


def _tuned(exported: Exported, pictures: Path, folder: Path, stop_at: int | None = None) -> Any:
    from edgepose.host.distill.fine_tuning import FineTuning, fine_tune
    from edgepose.host.distill.trainer import configure_backend
    from edgepose.host.distill.training import Watchers

    def progress(done: int, _total: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    configure_backend(0, None)
    folder.mkdir(exist_ok=True)
    box = np.array([40.0, 30.0, 200.0, 220.0], np.float32)
    task = FineTuning(
        student=exported.student,
        design=TINY,
        model=exported.model,
        batches=BatchSource(sample_cache(), TINY, BatchSettings(4, 9)),
        crops=tuple(CropSample(path, "", box) for path in sorted((pictures / "images").iterdir())[:6]),
        steps=STEPS,
        learning_rate=2e-3,
        fingerprint={"run": 1},
        folder=folder,
        checkpoint_every=3,
    )
    return fine_tune(task, Watchers(progress=progress))
