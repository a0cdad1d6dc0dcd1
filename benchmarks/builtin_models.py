"""How good are the built-in models? Assembles them from two runs of `edgepose distill` and measures them.

Writes builtin_models/ (models, manifest, card) and results/builtin_models.json. What is measured is what
the other commands measure: `edgepose evaluate` on labelled pictures that were not learned from, and paired
latencies of student, its int8 form and its teacher, interleaved in one process, one thread.

Usage: python benchmarks/builtin_models.py POSE_RUN DETECTOR_RUN LABELLED_DIR TEACHER TEACHER_SPEC --work DIR
           [--empty DIR]
--empty names pictures without a person, on which false persons are counted.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.inference.backend import Backend
from edgepose.inference.open_model import open_backend
from edgepose.trust.digests import sha256_of_file

PROJECT = Path(__file__).resolve().parent.parent
BUILTIN = PROJECT / "builtin_models"
FIGURES = PROJECT / "calibration_data" / "figures"
RESULTS = Path(__file__).resolve().parent / "results" / "builtin_models.json"
LICENCE = "LicenseRef-edgepose-weights: research and evaluation; see LICENSE-WEIGHTS.md"
_ROUNDS = 200
_DETECTOR_RECIPE = "static_wi8_ai8_integer_io"
_FILES = (
    ("pose", "float32", "model.onnx", "edgepose-s.onnx"),
    ("pose", "int8", "model_int8.tflite", "edgepose-s_int8.tflite"),
    ("detector", "float32", "model.onnx", "edgepose-d.onnx"),
    ("detector", "int8", "model_int8.tflite", "edgepose-d_int8.tflite"),
)


def main() -> None:
    """Assembles, measures, writes card and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name in ("pose_run", "detector_run", "labelled", "teacher", "teacher_spec"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--empty", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    detector_int8 = given.detector_run / "model_int8.tflite"
    edgepose(
        "quantize", given.detector_run / "model.tflite", "--profile", "coral", "--recipe", _DETECTOR_RECIPE,
        "--calibration", FIGURES, "-o", detector_int8, "--force",
    )  # fmt: skip
    assemble({"pose": given.pose_run, "detector": given.detector_run})
    record = {
        "schema": "edgepose.comparison/1",
        "name": "builtin_models",
        "command": _command(given),
        "labelled": given.labelled.name,
        "accuracy": accuracy(given),
        "detector": detector_accuracy(given),
        "latency": latency(given),
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record["latency"], indent=1))


def assemble(runs: dict[str, Path]) -> None:
    """Copies the models beside a manifest of their digests."""
    files = []
    for role, precision, source, name in _FILES:
        if not (runs[role] / source).is_file():
            print(f"{role}: no {source}, left out")
            continue
        target = BUILTIN / name
        shutil.copyfile(runs[role] / source, target)
        files.append({"file": name, "sha256": sha256_of_file(target), "role": role, "precision": precision})
    manifest = {"schema": "edgepose.builtin/1", "licence": LICENCE, "files": files}
    (BUILTIN / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def accuracy(given: argparse.Namespace) -> dict[str, Any]:
    """`edgepose evaluate` of student, int8 against it, teacher, and behind the built-in detector."""
    labels = [
        "--annotations", given.labelled / "person_keypoints.json", "--images", given.labelled / "images",
    ]  # fmt: skip
    student, rounded = BUILTIN / "edgepose-s.onnx", BUILTIN / "edgepose-s_int8.tflite"
    detector = ["--detector", BUILTIN / "edgepose-d.onnx"]
    runs = {
        "student": [student, *labels, "--slices"],
        "student_int8": [rounded, *labels, "--baseline", student, "--slices"],
        "teacher": [given.teacher, "--spec", given.teacher_spec, *labels],
        "student_behind_detector": [student, *labels, *detector],
    }
    found = {}
    for name, arguments in runs.items():
        path = given.work / f"{name}.json"
        edgepose("evaluate", *arguments, "--json", path)
        record = json.loads(path.read_text(encoding="utf-8"))
        found[name] = {"model_sha256": record["model"]["sha256"], "dataset": record["dataset"]}
        found[name] |= {key: record["metrics"][key] for key in ("oks_ap", "oks_ap50", "oks_ar", "pck@0.2")}
        if record.get("baseline"):
            found[name]["against_float"] = record["baseline"]["delta"]["oks_ap"]
    return found


def detector_accuracy(given: argparse.Namespace) -> dict[str, Any]:
    """`edgepose evaluate` of the detector and its int8 form; the teacher is in the training's record."""
    labels = [
        "--annotations", given.labelled / "person_keypoints.json", "--images", given.labelled / "images",
    ]  # fmt: skip
    empty = [] if given.empty is None else ["--empty", given.empty]
    found: dict[str, Any] = {}
    for name in ("edgepose-d.onnx", "edgepose-d_int8.tflite"):
        path = given.work / f"{Path(name).stem}.json"
        edgepose("evaluate", BUILTIN / name, *labels, *empty, "--json", path)
        record = json.loads(path.read_text(encoding="utf-8"))
        found[name] = {
            "model_sha256": record["model"]["sha256"],
            **record["figures"],
            "empty": record["empty"],
        }
    record = json.loads((given.detector_run / "distillation.json").read_text(encoding="utf-8"))
    return {**found, "teacher": record["teacher_evaluation"]}


def _command(given: argparse.Namespace) -> str:
    """Names without their folders: where they lie is nobody's business."""
    paths = (given.pose_run, given.detector_run, given.labelled, given.teacher, given.teacher_spec)
    words = ["python", "benchmarks/builtin_models.py", *(path.name for path in paths), "--work", "DIR"]
    return shlex.join(words if given.empty is None else [*words, "--empty", given.empty.name])


def latency(given: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of one inference, one thread, all models in turn in every round."""
    paths = {
        "student": given.pose_run / "model.tflite",
        "student_int8": BUILTIN / "edgepose-s_int8.tflite",
        "teacher": _teacher_tflite(given),
        "detector": given.detector_run / "model.tflite",
        "detector_int8": BUILTIN / "edgepose-d_int8.tflite",
    }
    backends = {name: open_backend(path) for name, path in paths.items()}
    samples: dict[str, list[float]] = {name: [] for name in backends}
    for turn in range(_ROUNDS + 20):
        for name, backend in backends.items():
            spent_ms = _invoke_ms(backend)
            if turn >= 20:
                samples[name].append(spent_ms)
    teacher = samples["teacher"]
    return {
        name: {
            "p50_ms": round(statistics.median(values), 3),
            "fastest_ms": round(min(values), 3),
            "of_teacher": round(statistics.median(v / t for v, t in zip(values, teacher, strict=True)), 4),
            "size_bytes": paths[name].stat().st_size,
        }
        for name, values in samples.items()
    }


def _teacher_tflite(given: argparse.Namespace) -> Path:
    target: Path = given.work / "teacher.tflite"
    if not target.is_file():
        edgepose("convert", given.teacher, "--spec", given.teacher_spec, "--to", "tflite", "-o", target)
    return target


def _invoke_ms(backend: Backend) -> float:
    backend.load_input(lambda tensor: np.copyto(tensor, tensor.dtype.type(0)))
    start_ns = time.perf_counter_ns()
    backend.invoke()
    return (time.perf_counter_ns() - start_ns) / 1e6


def edgepose(*arguments: object) -> None:
    """Runs one command of this environment."""
    subprocess.run(
        [str(Path(sys.executable).parent / "edgepose"), *(str(argument) for argument in arguments)],
        check=True,
    )


if __name__ == "__main__":
    main()
