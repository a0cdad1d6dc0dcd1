"""Do real models find people who do not exist, and can such people calibrate a model for real ones?

First, drawn pictures are shown to a detector and a pose model: how many persons does the detector find
(score 0.25, IoU above 0.5), how good are the poses in true boxes (OKS AP, PCK at 0.2 of the torso)? The same
models on real pictures stand beside it. Second, the pose model is quantized with crops of drawn people and
with as many of real ones, plainly and repaired, and every file is evaluated on real pictures against its
float model: paired differences over the same persons. Third, int8 by one data set against int8 by the other.

An int8 file that lies in the work folder already is measured, not made again (its seconds are null).

Usage: python benchmarks/synthetic_calibration.py DATA --work DIR
DATA holds ``models/NAME.onnx``, ``coco_train/`` (calibration) and ``coco_val/`` (evaluation).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from int8_files import Calibration, quantize_by_edgepose

from edgepose import __version__
from edgepose.host.data.coco import CocoDataset, read_coco
from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model
from edgepose.host.models.artifact import open_artifact
from edgepose.host.synthetic.composition import draw_scene
from edgepose.host.synthetic.image_set import PictureSetRequest, write_picture_set
from edgepose.pose.boxes import iou_matrix
from edgepose.records.device_profile import find_profile
from edgepose.records.evaluation_report import EvaluationReport
from edgepose.records.files import write_whole
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.open_model import open_detector
from edgepose.runtime.pipeline import PersonDetector
from edgepose.trust.digests import sha256_of_path

_PROJECT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).resolve().parent / "results" / "synthetic_calibration.json"
_SHIPPED = _PROJECT / "calibration_data" / "figures"
_POSE, _DETECTOR, _PROFILE = "tinypose_256x192", "yolox_nano", "raspberrypi5"
# Far from the seeds of the shipped set.
_FIRST_SEED, _PICTURES, _PERSONS = 50_000, 200, (1, 2)
_SCORE, _IOU = 0.25, 0.5
_SPEED_PICTURES = 60


class Bench:
    """The files and figures of one run."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._work: Path = arguments.work
        self._work.mkdir(parents=True, exist_ok=True)
        self._pose = self._copy(_POSE)
        self._detector = open_detector(self._copy(_DETECTOR), _spec(_DETECTOR))

    def found(self) -> dict[str, Any]:
        """How the models do on drawn pictures of both styles and on real ones."""
        folders = {"coco_val": self._arguments.data / "coco_val"}
        for style in ("clear", "varied"):
            folder = self._work / style
            shutil.rmtree(folder, ignore_errors=True)
            write_picture_set(
                folder,
                PictureSetRequest(self._arguments.pictures, _FIRST_SEED, persons=_PERSONS, style=style),
            )
            folders[style] = folder
        return {name: self._found_in(folder) for name, folder in folders.items()}

    def by_activity(self) -> dict[str, dict[str, float]]:
        """Share of varied persons that the detector finds, by what they do."""
        hits: dict[str, list[bool]] = defaultdict(list)
        for seed in range(_FIRST_SEED, _FIRST_SEED + self._arguments.pictures):
            scene = draw_scene(seed, (320, 240), 1, "varied")
            overlap = _overlaps(self._detector, scene.image, scene.boxes_xyxy_px.astype(np.float64))
            hits[scene.activities[0]].append(bool(overlap[0] > _IOU))
        return {
            name: {"persons": len(values), "recall": round(float(np.mean(values)), 3)}
            for name, values in sorted(hits.items())
        }

    def calibrated(self) -> Iterator[dict[str, Any]]:
        """int8 by each data set, plainly and repaired, on real pictures."""
        folders = {"coco_train": self._arguments.data / "coco_train", "figures": _SHIPPED}
        for repair in (False, True):
            files: dict[str, Path] = {}
            for name, folder in folders.items():
                print(f"{name}, {'repaired' if repair else 'plain'} ...", flush=True)
                output = self._work / f"{name}_{'repaired' if repair else 'plain'}.tflite"
                seconds = None if output.is_file() else self._quantize(folder, output, repair=repair)
                files[name] = output
                baseline = files["coco_train"] if name == "figures" else None
                yield {
                    "calibration": name,
                    "repaired": repair,
                    "recipe": _recipe_in(output),
                    "file_sha256": sha256_of_path(output),
                    "seconds": seconds,
                    **_accuracy(self._evaluated(output, "coco_val", self._pose)),
                    "minus_coco_train": None
                    if baseline is None
                    else _difference(self._evaluated(output, "coco_val", baseline)),
                }

    def _quantize(self, folder: Path, output: Path, *, repair: bool) -> float | None:
        source = open_artifact(self._pose, _spec(_POSE))
        data = Calibration(folder, self._arguments.samples, self._arguments.seed)
        return quantize_by_edgepose(source, find_profile(_PROFILE), data, output, repair=repair).seconds

    def _copy(self, model: str) -> Path:
        """A copy of a model: converters may rewrite what they read."""
        copy = self._work / f"{model}.onnx"
        shutil.copyfile(self._arguments.data / "models" / f"{model}.onnx", copy)
        return copy

    def _found_in(self, folder: Path) -> dict[str, Any]:
        report = self._evaluated(self._pose, folder.name, None, folder)
        dataset = read_coco(folder / "person_keypoints.json", folder / "images")
        figures = _recall(self._detector, dataset)
        return {
            "digest": report.dataset.digest,
            "persons": report.dataset.persons,
            **_accuracy(report),
            **figures,
        }

    def _evaluated(
        self, model: Path, name: str, baseline: Path | None, folder: Path | None = None
    ) -> EvaluationReport:
        folder = folder or self._arguments.data / name
        return evaluate_model(
            EvaluationRequest(
                model=model,
                annotations=folder / "person_keypoints.json",
                images=folder / "images",
                spec_file=_spec(_POSE),
                baseline=baseline,
            )
        )


def _spec(model: str) -> Path:
    return _PROJECT / "model_specs" / f"{model}.toml"


def _recipe_in(path: Path) -> str | None:
    lineage = open_artifact(path).lineage
    return lineage.recipe.name if lineage is not None and lineage.recipe is not None else None


def _accuracy(report: EvaluationReport) -> dict[str, Any]:
    ap, pck = report.metrics["oks_ap"], report.metrics["pck@0.2"]
    figures = {"oks_ap": ap.value, "oks_ap_interval_95": ap.interval_95, "pck@0.2": pck.value}
    return figures if report.baseline is None else {**figures, "minus_float": _difference(report)}


def _difference(report: EvaluationReport) -> dict[str, Any] | None:
    if report.baseline is None:
        return None
    delta = report.baseline.delta["oks_ap"]
    return {"oks_ap": delta.value, "interval_95": delta.interval_95}


def _recall(detector: PersonDetector, dataset: CocoDataset) -> dict[str, Any]:
    """Share of persons with keypoints that are found."""
    hits: list[bool] = []
    for image in dataset.images:
        boxes = [p.box_xyxy_px for p in image.persons if not p.is_crowd and p.visibility.any()]
        if boxes:
            hits += (_overlaps(detector, read_image_rgb(image.path), np.stack(boxes)) > _IOU).tolist()
    return {"detector_recall": round(float(np.mean(hits)), 4), "detector_persons": len(hits)}


def _overlaps(detector: PersonDetector, image: Any, boxes: Any) -> Any:
    found, scores = detector.detect(image)
    overlaps = iou_matrix(boxes, found[scores >= _SCORE])
    return overlaps.max(axis=1, initial=0.0)


def _pictures_per_second() -> dict[str, float]:
    """One thread, processor time, so that a busy machine counts less."""
    rates = {}
    for style in ("clear", "varied"):
        start_ns = time.process_time_ns()
        for seed in range(_SPEED_PICTURES):
            draw_scene(seed, (320, 240), 1, style)
        rates[style] = round(_SPEED_PICTURES / ((time.process_time_ns() - start_ns) / 1e9), 1)
    return rates


def main() -> None:
    """Measures everything, prints the table, writes the record."""
    arguments = _arguments()
    cv2.setNumThreads(1)
    bench = Bench(arguments)
    record = {
        "schema": "edgepose.measurement/1",
        "name": "synthetic_calibration",
        "pictures_per_cpu_second": _pictures_per_second(),
        "found": bench.found(),
        "found_by_activity": bench.by_activity(),
        "calibrated": list(bench.calibrated()),
        "samples": arguments.samples,
        "command": f"benchmarks/synthetic_calibration.py DATA --work DIR --samples {arguments.samples} "
        f"--seed {arguments.seed} --pictures {arguments.pictures}",
        "versions": {
            "edgepose": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{
                name: importlib.metadata.version(name)
                for name in ("ai-edge-quantizer", "ai-edge-litert", "numpy")
            },
        },
        "calibration_manifest_sha256": sha256_of_path(_SHIPPED / "manifest.json"),
        "models": {n: sha256_of_path(arguments.work / f"{n}.onnx") for n in (_POSE, _DETECTOR)},
    }
    write_whole(arguments.output, [json.dumps(record, indent=2, allow_nan=False).encode() + b"\n"])
    print(json.dumps(record, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with models/, coco_train/ and coco_val/")
    parser.add_argument("--work", type=Path, required=True, help="folder for files and pictures")
    parser.add_argument("--samples", type=int, default=64, help="calibration crops")
    parser.add_argument("--seed", type=int, default=0, help="draw of the calibration crops")
    parser.add_argument(
        "--pictures", type=int, default=_PICTURES, help="drawn pictures to show to the models"
    )
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
