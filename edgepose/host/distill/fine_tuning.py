"""Quantization-aware fine-tuning from end to end: fold, learn, write the int8 file, measure.

One process does it, also where several trained: it is a small part of the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError, ModelError
from edgepose.host.data.calibration_set import CropSample, RepresentativeInputs
from edgepose.host.data.coco import CocoDataset
from edgepose.host.distill.batches import BatchSource
from edgepose.host.distill.folded_network import FoldedNetwork, fold, moved_input
from edgepose.host.distill.rounded_student import int8_bytes, rounded_student, steps_of
from edgepose.host.distill.students import INPUT_OFFSET, StudentDesign
from edgepose.host.distill.trainer import KerasBackend, OptimizerSettings, Trainer
from edgepose.host.distill.training import (
    LoopSettings,
    TrainingLoop,
    TrainingOutcome,
    Watchers,
    pipeline_figures,
)
from edgepose.host.evaluate.agreement import mean_agreement_oks, read_crops
from edgepose.host.evaluate.figures import PCK_NAME
from edgepose.host.models.artifact import open_artifact, write_metadata
from edgepose.host.models.audit import audit_model, refuse_silent_float
from edgepose.host.models.inspect import inspect_model
from edgepose.host.quantize.repair.apply_recipe import RecipeApplier
from edgepose.host.quantize.repair.float_model import TfliteFloat
from edgepose.host.quantize.static_quantization import same_interface
from edgepose.records.distillation_report import QuantizationAwareTuning, RoundedFigures
from edgepose.records.files import write_whole
from edgepose.records.lineage import (
    LINEAGE_METADATA_KEY,
    RECIPES,
    Lineage,
    ParentModel,
    QuantizationRecipe,
    lineage_to_json,
)
from edgepose.records.model_spec import SPEC_METADATA_KEY, ModelSpec, spec_to_json
from edgepose.runtime.backend import Backend, run_once
from edgepose.runtime.model_file import sha256_of_model
from edgepose.runtime.open_model import open_backend
from edgepose.runtime.pipeline import PosePipeline
from edgepose.trust.digests import sha256_of_bytes

MEASURED_CROPS = 64


@dataclass(frozen=True)
class Distance:
    """How far two models' outputs are apart, in steps of the int8 one."""

    mean: float
    greatest: float


def measured(
    pipelines: Mapping[str, PosePipeline], validation: CocoDataset | None, crops: Sequence[CropSample]
) -> dict[str, RoundedFigures]:
    """AP where there are labels to measure on, and the agreement with the first pipeline.

    Raises:
        ConfigError: An image is not readable.
        ModelError: A model failed.
    """
    first = next(iter(pipelines.values()))
    figures = {}
    for name, pipeline in pipelines.items():
        known = {} if validation is None else pipeline_figures(pipeline, validation)
        figures[name] = RoundedFigures(
            oks_ap=known.get("oks_ap"),
            pck=known.get(PCK_NAME),
            agreement_oks=mean_agreement_oks(first, pipeline, read_crops(crops)).mean_oks,
        )
    return figures


def distance(rounded: Backend, converted: Backend, spec: ModelSpec, crops: Sequence[CropSample]) -> Distance:
    """Runs both on the same crops.

    Raises:
        ConfigError: An image is not readable.
        ModelError: A model failed.
    """
    step = converted.outputs[0].scale
    apart = [
        np.abs(run_once(rounded, mine)[0] - run_once(converted, theirs)[0]) / step
        for mine, theirs in zip(
            RepresentativeInputs(spec.input, rounded.input, crops),
            RepresentativeInputs(spec.input, converted.input, crops),
            strict=True,
        )
    ]
    return Distance(float(np.mean(apart)), float(np.max(apart)))


def crops_of_dataset(dataset: CocoDataset) -> list[CropSample]:
    """Persons of labelled images, evenly spread."""
    return evenly(
        [
            CropSample(image.path, "", np.asarray(person.box_xyxy_px, np.float32))
            for image in dataset.images
            for person in image.persons
            if person.is_scored
        ]
    )


def evenly(crops: Sequence[CropSample], count: int = MEASURED_CROPS) -> list[CropSample]:
    """At most so many, evenly spread over the sequence."""
    chosen: NDArray[np.intp] = np.unique(
        np.linspace(0, len(crops) - 1, min(count, len(crops))).astype(np.intp)
    )
    return [crops[index] for index in chosen]


INT8_FILE_NAME = "model_int8.tflite"
# Of the student's own rate: far enough to move weights by steps of int8, too little to unlearn.
RATE_SHARE = 0.05
# Steps of the int8 grid at the output, on average over all values: above, the file is another network.
MOST_STEPS_APART = 2.0
# With 128 as zero and the same deviation every grey level is one int8 code; with 127.5, where the float
# student has it, levels lie between two codes and meet in pairs.
ZERO_LEVEL = 128.0
INPUT_RANGE = (-128 / INPUT_OFFSET, 127 / INPUT_OFFSET)
_PLAIN = RECIPES["static_wi8_ai8_integer_io"]
_COMPARED_CROPS = 16


Shipped = Literal["fine_tuned", "plain"]


@dataclass(frozen=True, eq=False)
class FineTuning:
    """What to fine-tune, and on what.

    Attributes:
        student: The trained float32 Keras student.
        model: The float TFLite file that it was converted to.
        crops: Persons of the training images.
        learning_rate: Highest rate of the student's own training.
        fingerprint: What that training was.
        folder: Where the int8 file and a folder of checkpoints go.
        checkpoint_every: Steps between checkpoints, besides the clock's.
        validation: Labelled images to measure on.
    """

    student: Any
    design: StudentDesign
    model: Path
    batches: BatchSource
    crops: Sequence[CropSample]
    steps: int
    learning_rate: float
    fingerprint: dict[str, Any]
    folder: Path
    checkpoint_every: int | None = None
    validation: CocoDataset | None = None


def learned_recipe() -> QuantizationRecipe:
    """The plain integer-only recipe, with ranges that were learned instead of collected."""
    return msgspec.structs.replace(_PLAIN, range_method="learned", sample_count=0)


def fine_tune(task: FineTuning, watchers: Watchers) -> QuantizationAwareTuning:
    """Learns with the rounding of int8 and writes ``model_int8.tflite``, integer from input to output.

    The same task again goes on from the last checkpoint.

    Raises:
        ConfigError: A checkpoint is another run's, or a file cannot be written.
        ModelError: The student is of a kind that is not known here, learning diverged, or the written file
            computes something else than what was learned.
        MissingDependencyError: ai-edge-quantizer is not installed.
    """
    watchers.say(f"fine-tuning for int8, {task.steps} steps")
    folded = fold(task.student)
    start = moved_input(folded, (ZERO_LEVEL - INPUT_OFFSET) / INPUT_OFFSET)
    rounded, outcome = _learned(task, start, watchers)
    steps = steps_of(rounded)
    learned = start.with_weights(steps.learned_weights())
    data = int8_bytes(task.model.read_bytes(), folded, learned, steps.learned_ranges(), learned_recipe())
    with TemporaryDirectory(prefix=".qat.", dir=task.folder) as scratch:
        draft, plain = Path(scratch) / INT8_FILE_NAME, Path(scratch) / "plain.tflite"
        draft.write_bytes(data)
        plain.write_bytes(_plain_bytes(task))
        return _measured(task, draft, plain, KerasBackend(rounded), outcome)


def _learned(task: FineTuning, start: FoldedNetwork, watchers: Watchers) -> tuple[Any, TrainingOutcome]:
    """The rounded student with averaged weights."""
    rate = task.learning_rate * RATE_SHARE
    # A folder for each number of steps: the student itself need not be trained anew for another one.
    folder = task.folder / f"qat-{task.steps}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"Cannot make the folder {folder}: {problem.strerror}.") from problem
    settings = OptimizerSettings(peak_rate=rate, weight_decay=0.0, average=0.99)
    # Always float32: bfloat16 has no more digits than int8 itself.
    trainer = Trainer(
        task.design, settings, build=lambda _dtype: rounded_student(start, INPUT_RANGE), zero_level=ZERO_LEVEL
    )
    loop = TrainingLoop(
        trainer,
        task.batches,
        LoopSettings(task.steps, rate, checkpoint_every=task.checkpoint_every),
        {**task.fingerprint, "qat_steps": task.steps, "student": _digest(start)},
        folder,
        watchers,
    )
    outcome = loop.run()
    return trainer.averaged_student(), outcome


def _digest(network: FoldedNetwork) -> str:
    arrays = [np.asarray(a).tobytes() for step in network.convolutions for a in (step.kernel, step.bias)]
    return sha256_of_bytes(b"".join(arrays))


def _plain_bytes(task: FineTuning) -> bytes:
    """The same student by plain post-training quantization on crops of the training images."""
    crops = evenly(task.crops, _PLAIN.sample_count)
    tensor = open_backend(task.model).input
    spec = open_artifact(task.model).spec.input
    inputs = RepresentativeInputs(spec, tensor, crops)
    return RecipeApplier(TfliteFloat.of_file(task.model), spec, inputs).quantized(_PLAIN)


def _measured(
    task: FineTuning, learned: Path, plain: Path, rounded: KerasBackend, outcome: TrainingOutcome
) -> QuantizationAwareTuning:
    """Checks and measures the draft, then gives it its name."""
    parent = open_artifact(task.model)
    centred = msgspec.structs.replace(parent.spec.input, mean=(ZERO_LEVEL,) * 3)
    spec = msgspec.structs.replace(parent.spec, input=centred)
    float_file, int8_file = open_backend(task.model), open_backend(learned)
    refuse_silent_float(audit_model(learned), learned_recipe(), integer_only=True)
    same_interface(float_file, int8_file, task.folder / INT8_FILE_NAME)
    crops = evenly(task.crops) if task.validation is None else crops_of_dataset(task.validation)
    apart = distance(rounded, int8_file, spec, crops[:_COMPARED_CROPS])
    if not apart.mean <= MOST_STEPS_APART:
        raise ModelError(
            f"The int8 file is {apart.mean:.1f} steps away from what was learned, on average over "
            f"{len(crops[:_COMPARED_CROPS])} crops; expected at most {MOST_STEPS_APART:.0f}. "
            "It was not written.",
            "Use --qat-steps 0 and report this.",
        )
    pipelines = {
        "float": PosePipeline(float_file, parent.spec),
        "rounded": PosePipeline(rounded, spec),
        "converted": PosePipeline(int8_file, spec),
        "plain": PosePipeline(open_backend(plain), parent.spec),
    }
    figures = measured(pipelines, task.validation, crops)
    shipped = _better(figures["converted"], figures["plain"])
    kept = figures["converted" if shipped == "fine_tuned" else "plain"]
    # Agreement on images that were learned from proves nothing to a device's gate.
    held_out = None if task.validation is None else kept.agreement_oks
    draft = learned if shipped == "fine_tuned" else plain
    run_as = spec if shipped == "fine_tuned" else parent.spec
    write_metadata(draft, _metadata(task, run_as, _made_by(task, shipped), held_out))
    target = task.folder / INT8_FILE_NAME
    write_whole(target, [draft.read_bytes()])
    return QuantizationAwareTuning(
        steps=outcome.steps,
        learning_rate=task.learning_rate * RATE_SHARE,
        resumed_from=outcome.resumed_from,
        seconds=outcome.seconds,
        loss=outcome.loss,
        measured_on="training" if task.validation is None else "validation",
        crops=len(crops),
        float_student=figures["float"],
        fake_quantized=figures["rounded"],
        converted=figures["converted"],
        plain=figures["plain"],
        shipped=shipped,
        mean_steps_apart=apart.mean,
        greatest_steps_apart=apart.greatest,
        model=inspect_model(target),
    )


def _better(fine_tuned: RoundedFigures, plain: RoundedFigures) -> Shipped:
    """Which file to keep: the fine-tuned one, unless labels say that plain rounding did less harm."""
    if fine_tuned.oks_ap is None or plain.oks_ap is None or plain.oks_ap <= fine_tuned.oks_ap:
        return "fine_tuned"
    return "plain"


def _made_by(task: FineTuning, shipped: Shipped) -> tuple[str, QuantizationRecipe]:
    if shipped == "plain":
        return f"quantize: {_PLAIN.name}, better than fine-tuning", _PLAIN
    return f"quantization-aware fine-tuning, {task.steps} steps", learned_recipe()


def _metadata(
    task: FineTuning, spec: ModelSpec, made_by: tuple[str, QuantizationRecipe], agreement: float | None
) -> dict[str, str]:
    before = open_artifact(task.model).lineage
    if before is None:
        raise ModelError(f"{task.model.name} has no lineage; expected one from its conversion.")
    step = ParentModel(file_name=task.model.name, sha256=sha256_of_model(task.model), step=made_by[0])
    lineage = Lineage(
        parents=(*before.parents, step),
        tools=before.tools,
        precision="int8",
        recipe=made_by[1],
        agreement_oks=None if agreement is None else round(agreement, 6),
        golden=before.golden,
    )
    return {SPEC_METADATA_KEY: spec_to_json(spec), LINEAGE_METADATA_KEY: lineage_to_json(lineage)}
