"""What do edgepose's repair and plain int8 quantization leave of a model's accuracy, and what do they cost?

Makes every file of the table: float by edgepose's writer and by onnx2tf; int8 by onnxruntime's
``quantize_static`` (per channel, MinMax) and by ai-edge-quantizer as edgepose's plain recipes drive it, both
on exactly the crops that edgepose draws; and by ``edgepose quantize`` without a recipe, repair included.
Accuracy is measured through edgepose's pipeline with ground-truth boxes, against the float source on the
same persons. Times are of the bare model, files in turn in changing order, one thread.

The whole run takes long. Finished cells lie in the work folder and are not made again as long as model, code
and arguments are the same; times are measured anew when a file changed or ``latency_*.json`` is deleted.

Usage: python benchmarks/int8_methods.py DATA --work DIR
DATA holds ``models/NAME.onnx``, ``coco_train/`` (calibration) and ``coco_val/`` (evaluation).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
import random
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
from int8_files import (
    Calibration,
    Made,
    convert_by_onnx2tf,
    convert_directly,
    quantize_by_edgepose,
    quantize_by_onnxruntime,
)
from int8_table import (
    EDGEPOSE,
    FLOAT_EDGEPOSE,
    FLOAT_ONNX,
    FLOAT_ONNX2TF,
    NOTHING,
    PLAIN_ONNX,
    PLAIN_ONNX2TF,
    PLAIN_TFLITE,
    Cell,
    Latency,
    comparison_record,
    onnx2tf_name,
    render_table,
)

from edgepose import __version__
from edgepose.errors import GateFailedError
from edgepose.host.data.calibration_set import RepresentativeInputs
from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model
from edgepose.host.evaluate.figures import RESAMPLES
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.inspect import inspect_model
from edgepose.records.device_profile import find_profile
from edgepose.records.evaluation_report import DeltaFigure
from edgepose.records.files import write_whole
from edgepose.runtime.backend import Backend, run_once
from edgepose.runtime.model_file import load_spec
from edgepose.runtime.open_model import open_backend
from edgepose.trust.digests import sha256_of_path

_PROJECT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).resolve().parent / "results" / "int8_methods.json"
_MODELS, _PROFILES = "tinypose_256x192,tinypose_128x96", "raspberrypi5,coral,jetson"
_QUICK_IMAGES, _QUICK_CROPS, _QUICK_RESAMPLES = 12, 16, 100
# Of each file and round the first run only brings its weights back into the cache.
_ROUNDS, _RUNS = 60, 4
_FLOATS = (FLOAT_ONNX, FLOAT_EDGEPOSE, FLOAT_ONNX2TF)
_SLUGS = {
    FLOAT_ONNX: "float32", FLOAT_EDGEPOSE: "edgepose_float32", FLOAT_ONNX2TF: "onnx2tf_float32",
    PLAIN_ONNX: "plain_onnxruntime", PLAIN_TFLITE: "plain_tflite", PLAIN_ONNX2TF: "plain_onnx2tf",
    EDGEPOSE: "edgepose",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One cell to make."""

    model: str
    profile: str
    method: str
    seed: int | None

    @property
    def name(self) -> str:
        """What its files are called."""
        where = "" if self.profile == NOTHING else f"_{self.profile}"
        drawn = "" if self.seed is None else f"_seed{self.seed}"
        return f"{self.model}{where}_{_SLUGS[self.method]}{drawn}"


def tasks_of(models: Sequence[str], profiles: Sequence[str], seeds: Sequence[int]) -> list[Task]:
    """All cells in the order of the table."""
    found = []
    for model in models:
        found += [Task(model, NOTHING, method, None) for method in _FLOATS]
        for profile in profiles:
            for method in methods_for(profile):
                found += [Task(model, profile, method, seed) for seed in seeds]
    return found


def methods_for(profile: str) -> tuple[str, ...]:
    """What is compared on a profile: the peers of its format, then edgepose."""
    device = find_profile(profile)
    if device.runtime.model_format == "onnx":
        return PLAIN_ONNX, EDGEPOSE
    if device.quantization.integer_only:
        return PLAIN_TFLITE, EDGEPOSE
    return PLAIN_ONNX2TF, PLAIN_TFLITE, EDGEPOSE


class Bench:
    """Makes files, measures them, remembers what is done."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._work: Path = arguments.work
        self._calibration = arguments.data / "coco_train"
        self._evaluation = arguments.data / "coco_val"
        self._annotations = self._evaluation / "person_keypoints.json"
        self.code = _code_digest()
        for folder in ("cells", "files"):
            (self._work / folder).mkdir(parents=True, exist_ok=True)
        if arguments.quick:
            self._annotations = _few_images(self._annotations, self._work / "few.json")

    def file(self, name: str) -> Path:
        """A file in the work folder."""
        return self._work / "files" / name

    def source(self, model: str) -> Path:
        """A copy of the float model: converters may rewrite what they read."""
        copy = self.file(f"{model}_float32.onnx")
        original = self._arguments.data / "models" / f"{model}.onnx"
        if not copy.is_file() or sha256_of_path(copy) != sha256_of_path(original):
            shutil.copyfile(original, copy)
        return copy

    def cell(self, task: Task) -> Cell:
        """The measured cell, from the work folder where it is finished."""
        stored = self._work / "cells" / f"{task.name}.json"
        key = self._fingerprint(task)
        if stored.is_file():
            kept = json.loads(stored.read_text(encoding="utf-8"))
            if kept["fingerprint"] == key:
                return msgspec.convert(kept["cell"], Cell)
        print(f"{task.name} ...", flush=True)
        cell = self._measured(task)
        entry = {"fingerprint": key, "cell": msgspec.to_builtins(cell)}
        write_whole(stored, [json.dumps(entry, indent=2).encode()])
        return cell

    def latencies(self, model: str, cells: Sequence[Cell]) -> dict[str, Latency]:
        """Times of a model's files, by file name; measured in turn."""
        files = {c.file_name: c.sha256 for c in cells if c.model == model and c.file_name is not None}
        rounds = self.rounds
        stored = self._work / f"latency_{model}.json"
        if stored.is_file():
            kept = json.loads(stored.read_text(encoding="utf-8"))
            if kept["files"] == files and kept["rounds"] == rounds:
                return msgspec.convert(kept["latencies"], dict[str, Latency])
        print(f"{model}: times of {len(files)} files ...", flush=True)
        found = self._timed(model, [name for name in files if name is not None], rounds)
        entry = {"files": files, "rounds": rounds, "latencies": msgspec.to_builtins(found)}
        write_whole(stored, [json.dumps(entry, indent=2).encode()])
        return found

    def _fingerprint(self, task: Task) -> str:
        parts = (
            sha256_of_path(self.source(task.model)), self.code, str(self.samples),
            sha256_of_path(self._annotations), str(self._resamples),
        )  # fmt: skip
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def rounds(self) -> int:
        """Rounds of timing."""
        return 4 if self._arguments.quick else _ROUNDS

    @property
    def samples(self) -> int:
        """Calibration crops of a draw."""
        return _QUICK_CROPS if self._arguments.quick else int(self._arguments.samples)

    @property
    def _resamples(self) -> int:
        return _QUICK_RESAMPLES if self._arguments.quick else int(self._arguments.resamples)

    def _measured(self, task: Task) -> Cell:
        base = Cell(model=task.model, profile=task.profile, method=task.method, seed=task.seed)
        try:
            made = self._made(task)
        except GateFailedError as refusal:
            print(f"  exit 6: {refusal.message}", flush=True)
            return msgspec.structs.replace(base, refused="exit 6")
        path, seconds, agreement, recipe = made.path, made.seconds, made.agreement_oks, made.recipe
        inspection = inspect_model(path, self._spec(task.model))
        report = evaluate_model(
            EvaluationRequest(
                model=path,
                annotations=self._annotations,
                images=self._evaluation / "images",
                spec_file=self._spec(task.model),
                baseline=self.source(task.model),
                resamples=self._resamples,
            )
        )
        figure = report.metrics["oks_ap"]
        delta = (
            report.baseline.delta["oks_ap"] if report.baseline else DeltaFigure(value=None, interval_95=None)
        )
        return msgspec.structs.replace(
            base,
            file_name=path.name,
            sha256=inspection.sha256,
            size_bytes=inspection.size_bytes,
            float_ops=sum(inspection.float_ops.values()),
            ops=sum(inspection.ops.values()),
            oks_ap=figure.value,
            oks_ap_interval_95=figure.interval_95,
            delta_ap=delta.value,
            delta_ap_interval_95=delta.interval_95,
            agreement_oks=agreement,
            seconds=None if seconds is None else round(seconds, 1),
            recipe=recipe,
        )

    def _made(self, task: Task) -> Made:
        source, spec = self.source(task.model), self._spec(task.model)
        if task.method == FLOAT_ONNX:
            return Made(source)
        if task.method == FLOAT_EDGEPOSE:
            return convert_directly(source, spec, self.file(f"{task.name}.tflite"))
        if task.method == FLOAT_ONNX2TF:
            return convert_by_onnx2tf(source, spec, self.file(onnx2tf_name(task.model)))
        data = Calibration(self._calibration, self.samples, task.seed or 0)
        if task.method == PLAIN_ONNX:
            return quantize_by_onnxruntime(source, spec, data, self.file(f"{task.name}.onnx"))
        profile = find_profile(task.profile)
        if task.method == PLAIN_ONNX2TF:
            source = self.file(onnx2tf_name(task.model))
        output = self.file(f"{task.name}.{profile.runtime.model_format}")
        repair = task.method == EDGEPOSE
        return quantize_by_edgepose(open_artifact(source, spec), profile, data, output, repair=repair)

    def _timed(self, model: str, names: Sequence[str], rounds: int) -> dict[str, Latency]:
        backends = {name: open_backend(self.file(name)) for name in names}
        crop = Calibration(self._calibration, self.samples, 0).crops().held_out[:1]
        for name, backend in backends.items():
            spec = load_spec(self.file(name), self._spec(model))
            run_once(backend, RepresentativeInputs(spec.input, backend.input, crop).first(1)[0])
        order, draw = list(names), random.Random(0)  # noqa: S311 (an order, no secret)
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            draw.shuffle(order)
            for name in order:
                runs = [_invoke_ms(backends[name]) for _ in range(_RUNS)]
                times[name].append(statistics.median(runs[1:]))
        return {name: _latency(name, times) for name in names}

    def _spec(self, model: str) -> Path:
        return _PROJECT / "model_specs" / f"{model}.toml"


def _invoke_ms(backend: Backend) -> float:
    start_ns = time.monotonic_ns()
    backend.invoke()
    return (time.monotonic_ns() - start_ns) / 1e6


def _latency(name: str, times: Mapping[str, list[float]]) -> Latency:
    ratios = {
        other: round(statistics.median(a / b for a, b in zip(times[name], theirs, strict=True)), 4)
        for other, theirs in times.items()
        if other != name
    }
    return Latency(p50_ms=round(statistics.median(times[name]), 3), ratios=ratios)


def _code_digest() -> str:
    """Digest of the code that makes and judges the files: cells of older code do not count."""
    digest = hashlib.sha256()
    for folder in ("host", "runtime", "pose", "records"):
        for path in sorted((_PROJECT / "edgepose" / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _few_images(annotations: Path, output: Path) -> Path:
    """The labels of the first few pictures, for a try."""
    labels = json.loads(annotations.read_text(encoding="utf-8"))
    labels["images"] = labels["images"][:_QUICK_IMAGES]
    kept = {image["id"] for image in labels["images"]}
    labels["annotations"] = [entry for entry in labels["annotations"] if entry["image_id"] in kept]
    write_whole(output, [json.dumps(labels).encode()])
    return output


def _described(arguments: argparse.Namespace, bench: Bench) -> dict[str, Any]:
    models = {name: sha256_of_path(bench.source(name)) for name in arguments.models}
    call = f"--models {','.join(arguments.models)} --profiles {','.join(arguments.profiles)}"
    seeds = ",".join(map(str, arguments.seeds))
    tools = ("ai-edge-quantizer", "ai-edge-litert", "onnx", "onnxruntime", "numpy")
    return {
        "peer": {"name": PLAIN_ONNX, "version": importlib.metadata.version("onnxruntime")},
        "same_work": (
            "Same float model, calibration crops of each draw, evaluation pictures and true boxes, both "
            "files run by onnxruntime on the CPU with one thread; times are of the model alone. "
            "Differences are against the float model on the same persons, paired bootstrap over pictures. "
            f"'{PLAIN_TFLITE}' is given edgepose's ranges (mean of each crop's extremes)."
        ),
        "rounds": bench.rounds,
        "quick": arguments.quick,
        "code_sha256": bench.code,
        "samples": bench.samples,
        "command": f"benchmarks/int8_methods.py DATA --work DIR {call} --seeds {seeds} "
        f"--samples {arguments.samples}" + (" --quick" if arguments.quick else ""),
        "versions": {
            "edgepose": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{name: importlib.metadata.version(name) for name in tools},
        },
        "model_sha256": next(iter(models.values())),
        "models": models,
    }


def main() -> None:
    """Makes and measures what is missing, prints the table, writes the record."""
    arguments = _arguments()
    cv2.setNumThreads(1)
    bench = Bench(arguments)
    cells: list[Cell] = []
    latencies: dict[str, Latency] = {}
    for model in arguments.models:
        own = [bench.cell(task) for task in tasks_of([model], arguments.profiles, arguments.seeds)]
        latencies.update(bench.latencies(model, own))
        cells += own
    record = comparison_record(cells, latencies, _described(arguments, bench))
    output = arguments.work / "quick.json" if arguments.quick else arguments.output
    write_whole(output, [json.dumps(record, indent=2, allow_nan=False).encode() + b"\n"])
    print(render_table(cells, latencies))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with models/, coco_train/ and coco_val/")
    parser.add_argument("--work", type=Path, required=True, help="folder for files and finished cells")
    parser.add_argument("--models", type=_names, default=_names(_MODELS))
    parser.add_argument("--profiles", type=_names, default=_names(_PROFILES))
    parser.add_argument("--seeds", type=_numbers, default=[0, 1, 2], help="draws of the calibration crops")
    parser.add_argument("--samples", type=int, default=64, help="calibration crops")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="of the bootstrap")
    parser.add_argument("--quick", action="store_true", help="few crops, pictures and rounds: only a try")
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _names(text)]


if __name__ == "__main__":
    main()
