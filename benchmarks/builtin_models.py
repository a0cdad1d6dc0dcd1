"""How good and how fast are the built-in models, the very files that ship?

What is measured is what the other commands measure: `edgepose evaluate`, and latencies of all files in turn
in one process, one thread. LABELLED are photographs that were not learned from, but by whose figures
checkpoints and runs were chosen, so that what is measured on them flatters. The drawn people of two styles
are of seeds that were never drawn before: nothing was learned from them and nothing was chosen on them.

With --assemble the models are first copied into builtin_models/ from two runs of `edgepose distill`, with a
manifest of their digests.

Usage: python benchmarks/builtin_models.py LABELLED_DIR TEACHER TEACHER_SPEC --work DIR [--empty DIR]
           [--assemble POSE_RUN DETECTOR_RUN]
--empty names pictures without a person, on which false persons are counted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.runtime.backend import Backend
from edgepose.runtime.open_model import open_backend
from edgepose.trust.digests import sha256_of_file

PROJECT = Path(__file__).resolve().parent.parent
BUILTIN = PROJECT / "builtin_models"
FIGURES = PROJECT / "calibration_data" / "figures"
RESULTS = Path(__file__).resolve().parent / "results" / "builtin_models.json"
LICENCE = "LicenseRef-edgepose-weights: research and evaluation; see LICENSE-WEIGHTS.md"
_ROUNDS = 200
_DRAWN = 150
# Training drew with 7001, other benchmarks with small numbers.
_SEEDS = {"clear": 20261130, "varied": 20261131}
_DETECTOR_RECIPE = "static_wi8_ai8_integer_io"
_FILES = (
    ("pose", "float32", "model.onnx", "edgepose-s.onnx"),
    ("pose", "int8", "model_int8.tflite", "edgepose-s_int8.tflite"),
    ("detector", "float32", "model.onnx", "edgepose-d.onnx"),
    ("detector", "int8", "model_int8.tflite", "edgepose-d_int8.tflite"),
)


def main() -> None:
    """Measures and writes the record, after assembling the models where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name in ("labelled", "teacher", "teacher_spec"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--empty", type=Path)
    parser.add_argument("--assemble", type=Path, nargs=2, metavar=("POSE_RUN", "DETECTOR_RUN"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.assemble:
        pose_run, detector_run = given.assemble
        edgepose(
            "quantize", detector_run / "model.tflite", "--profile", "coral", "--recipe", _DETECTOR_RECIPE,
            "--calibration", FIGURES, "-o", detector_run / "model_int8.tflite", "--force",
        )  # fmt: skip
        assemble({"pose": pose_run, "detector": detector_run})
    record = {
        "schema": "edgepose.comparison/1",
        "name": "builtin_models",
        "labelled": given.labelled.name,
        "accuracy": accuracy(given, given.labelled, slices=True),
        "nothing_was_chosen_on": {
            style: {
                "drawn": {"style": style, "count": _DRAWN, "seed": _SEEDS[style], "persons": "1-3"},
                "accuracy": accuracy(given, drawn(given.work, style)),
            }
            for style in _SEEDS
        },
        "detector": detector_accuracy(given),
        "latency": latency(given),
    }
    given.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record["latency"], indent=1))


def drawn(work: Path, style: str) -> Path:
    """A data folder of people who do not exist."""
    folder = work / f"drawn_{style}"
    edgepose(
        "data", "synth", "-o", folder, "--count", _DRAWN, "--seed", _SEEDS[style], "--persons", "1-3",
        "--style", style, "--force",
    )  # fmt: skip
    return folder


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


def accuracy(given: argparse.Namespace, data: Path, *, slices: bool = False) -> dict[str, Any]:
    """`edgepose evaluate` of student, int8 against it, teacher, and behind the built-in detector."""
    labels = ["--annotations", data / "person_keypoints.json", "--images", data / "images"]
    more = ["--slices"] if slices else []
    student, rounded = BUILTIN / "edgepose-s.onnx", BUILTIN / "edgepose-s_int8.tflite"
    detector = ["--detector", BUILTIN / "edgepose-d.onnx"]
    runs = {
        "student": [student, *labels, *more],
        "student_int8": [rounded, *labels, "--baseline", student, *more],
        "teacher": [given.teacher, "--spec", given.teacher_spec, *labels],
        "student_behind_detector": [student, *labels, *detector],
    }
    found = {}
    for name, arguments in runs.items():
        path = given.work / f"{data.name}_{name}.json"
        edgepose("evaluate", *arguments, "--json", path)
        record = json.loads(path.read_text(encoding="utf-8"))
        found[name] = {"model_sha256": record["model"]["sha256"], "dataset": record["dataset"]}
        found[name] |= {key: record["metrics"][key] for key in ("oks_ap", "oks_ap50", "oks_ar", "pck@0.2")}
        if record.get("baseline"):
            found[name]["against_float"] = record["baseline"]["delta"]["oks_ap"]
    return found


def detector_accuracy(given: argparse.Namespace) -> dict[str, Any]:
    """`edgepose evaluate` of the detector and its int8 form."""
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
    return found


def latency(given: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of one inference, one thread, all files in turn in every round.

    A file is compared with the teacher of its own format, so that no ratio is one of two runtimes.
    """
    paths = {
        **{f"{role}_{precision}": BUILTIN / name for role, precision, _, name in _FILES},
        "teacher_onnx": given.teacher,
        "teacher_tflite": _teacher_tflite(given),
    }
    backends = {name: open_backend(path) for name, path in paths.items()}
    samples: dict[str, list[float]] = {name: [] for name in backends}
    for turn in range(_ROUNDS + 20):
        for name, backend in backends.items():
            spent_ms = _invoke_ms(backend)
            if turn >= 20:
                samples[name].append(spent_ms)
    return {
        name: {
            "file": paths[name].name,
            "model_sha256": sha256_of_file(paths[name]),
            "p50_ms": round(statistics.median(values), 3),
            "p95_ms": round(float(np.percentile(values, 95)), 3),
            "of_teacher": _ratio(values, samples[f"teacher_{paths[name].suffix[1:]}"]),
            "size_bytes": paths[name].stat().st_size,
        }
        for name, values in samples.items()
    }


def _ratio(values: list[float], others: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(values, others, strict=True)), 4)


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
