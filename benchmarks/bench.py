"""Runs a benchmark and writes its record with what it was made by; without a name it lists all.

A record gets ``made_by``: the script and its digest, the whole command, the digests of the files it was
given, threads, versions, and how busy the machine was before and after. ``DATA`` is a folder with
``models/``, ``coco_train/``, ``coco_val/``, ``no_person/`` and ``video/``; what else is needed is made in
``build/bench``.

Usage: python benchmarks/bench.py [NAME [--data DATA] [--output FILE] [MORE ARGUMENTS OF THE SCRIPT]]
       python benchmarks/bench.py NAME --renamed NEW:OLD
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import RESULTS, rewrite_pages
from script_digest import HERE, script_sha256

_PREPARED = HERE.parent / "build" / "bench"
_BIN = Path(sys.executable).parent
_PACKAGES = ("edgepose", "numpy", "opencv-python-headless", "ai-edge-litert", "onnxruntime")
_TINYPOSE = "tinypose_256x192"
_FILES = {
    "video": "video/tfjs_pose_squats.mp4",
    "onnx": f"models/{_TINYPOSE}.onnx",
    "train": "coco_train",
    "val": "coco_val",
    "empty": "no_person",
    "landmark": "models/blazepose/pose_landmark_full.tflite",
    "finder": "models/blazepose/pose_detection.tflite",
    "yolox": "models/yolox_nano.onnx",
    "pictures": "coco_val/images",
    "data": ".",
}
_OWN = {
    "spec": f"model_specs/{_TINYPOSE}.toml",
    "yolox_spec": "model_specs/yolox_nano.toml",
    "builtin_int8": "builtin_models/edgepose-s_int8.tflite",
}
_MADE = {
    "work": "work",
    "root": "root",
    "keras": "heatmap.keras",
    "float32": "tinypose-float32.tflite",
    "float16": "tinypose-float16.tflite",
    "int8": "tinypose-int8.tflite",
}


@dataclass(frozen=True)
class Benchmark:
    """One record and how it is made.

    Attributes:
        script: In this folder, without its suffix.
        arguments: Of the script; ``{name}`` stands for a file of the data folder or one that is made first.
        minutes: About, on two quiet cores.
        threads: Of the model; None where none is timed.
    """

    script: str
    arguments: str = ""
    minutes: float = 1.0
    threads: int | None = None


_DRAWS = f"{{data}} --work {{work}} --models {_TINYPOSE} --seeds 0,1,2"
_TINY = "--model {onnx} --model-spec {spec} --detector {yolox} --detector-spec {yolox_spec}"
BENCHMARKS = {
    "bare_interpreter": Benchmark("bare_interpreter", "{float16}", 0.5, 1),
    "bare_interpreter_int8": Benchmark("bare_interpreter", "{int8}", 0.5, 1),
    "builtin_models": Benchmark("builtin_models", "{val} {onnx} {spec} --empty {empty} --work {work}", 3, 1),
    "cold_start": Benchmark("cold_start", "{float16} {video}", 1, 1),
    "convert_quantize": Benchmark("convert_quantize", f"{{onnx}} {_TINYPOSE} {{train}}", 1),
    "drift": Benchmark("drift", "--runs 20 --pictures {pictures}", 6),
    "drift_tinypose": Benchmark("drift", f"--runs 20 --pictures {{pictures}} {_TINY}", 7),
    "endurance": Benchmark("endurance", "{root} {video} --frames 100000", 6),
    "fleet": Benchmark("fleet", "--devices 10", 4),
    "fuzz_bundles": Benchmark("fuzz_bundles", "--count 12000", 5),
    "fuzz_models": Benchmark("fuzz_models", "--count 20000 --framework 120 --whole 8", 10),
    "house": Benchmark("house", "", 10),
    "int8_methods": Benchmark("int8_methods", "{data} --work {work}", 60, 1),
    "int8_methods_jetson_three_draws": Benchmark("int8_methods", f"{_DRAWS} --profiles jetson", 40, 1),
    "int8_methods_raspberrypi5_three_draws": Benchmark(
        "int8_methods", f"{_DRAWS} --profiles raspberrypi5", 40, 1
    ),
    "loader_lock": Benchmark("loader_lock", "{keras} --pairs 10", 2),
    "lock_cost": Benchmark("lock_cost", "{builtin_int8} {video} --rounds 41", 3, 1),
    "mediapipe": Benchmark("mediapipe", "{video} --models {landmark} {finder}", 2, 1),
    "mutants": Benchmark("mutants", "--areas pose,evaluate,trust,judgement,search --most 60", 15),
    "runtime": Benchmark("runtime", "{float32} {video} --rounds 21", 3, 1),
    "smoothing": Benchmark("smoothing", "--model {float16}", 0.5),
    "synthetic_calibration": Benchmark("synthetic_calibration", "{data} --work {work}", 20),
    "telemetry_cost": Benchmark("telemetry_cost", "{root} {video} --drift --rounds 9", 3, 1),
    "tracking": Benchmark("tracking", "--clips 10", 2),
}  # fmt: skip


def main() -> None:
    """Runs one, or lists all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS))
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--output", type=Path, help="else results/NAME.json, and the pages' figures follow")
    parser.add_argument(
        "--renamed",
        action="append",
        metavar="NEW:OLD",
        help="run nothing: only this name of edgepose changed",
    )
    given, more = parser.parse_known_args()
    if given.name is None:
        print("\n".join(_listed()))
        return
    if given.renamed:
        _rename(given.name, dict(pair.split(":") for pair in given.renamed))
        return
    output: Path = given.output or RESULTS / f"{given.name}.json"
    record = _measured(BENCHMARKS[given.name], given.data, more)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {output}")
    if output.parent == RESULTS:
        rewrite_pages()


def _listed() -> list[str]:
    lines = []
    for name, benchmark in sorted(BENCHMARKS.items()):
        source = (HERE / f"{benchmark.script}.py").read_text(encoding="utf-8")
        question = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        lines.append(f"{name:38} {benchmark.minutes:4g} min  {_state(name):9}  {question}")
    return lines


def _state(name: str) -> str:
    """Whether a record is there, and made by the script as it is now."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return "no record"
    made_by = json.loads(path.read_text(encoding="utf-8")).get("made_by", {})
    current = script_sha256(BENCHMARKS[name].script, renamed=made_by.get("renamed_since"))
    return "" if made_by.get("script_sha256") == current else "STALE"


def _rename(name: str, renamed: dict[str, str]) -> None:
    """Lets a record stand whose script changed in names of edgepose alone.

    Raises:
        SystemExit: More than these names changed.
    """
    path = RESULTS / f"{name}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    made_by = record["made_by"]
    made_by["renamed_since"] = made_by.get("renamed_since", {}) | renamed
    if made_by["script_sha256"] != script_sha256(made_by["script"], renamed=made_by["renamed_since"]):
        raise SystemExit(f"more than names changed since: make bench NAME={name}")
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _measured(benchmark: Benchmark, data: Path, more: Sequence[str]) -> dict[str, Any]:
    """The record that a script writes, with what it was made by."""
    words, said, inputs = [str(HERE / f"{benchmark.script}.py")], [f"{benchmark.script}.py"], {}
    # Before it starts: the text may change while it runs.
    script_digest = script_sha256(benchmark.script)
    for word in [*benchmark.arguments.split(), *more]:
        path = _path(word[1:-1], data) if word.startswith("{") else None
        words.append(word if path is None else str(path))
        # Names without their folders: where files lie says nothing.
        said.append(word if path is None else path.name)
        if path is not None and path.is_file():
            inputs[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "record.json"
        subprocess.run([sys.executable, *words, "--output", str(output)], check=True)
        record: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    record["made_by"] = {
        "script": benchmark.script,
        "script_sha256": script_digest,
        "command": " ".join(["python", f"benchmarks/{said[0]}", *said[1:]]),
        "inputs_sha256": inputs,
        "threads": benchmark.threads,
        "load_average_1_min": [round(before, 1), round(os.getloadavg()[0], 1)],
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    }
    return record


def _path(name: str, data: Path) -> Path:
    """A file or folder that a benchmark is given."""
    if name in _OWN:
        return HERE.parent / _OWN[name]
    if name in _FILES:
        return data.resolve() / _FILES[name]
    path = _PREPARED / _MADE[name]
    if not path.exists():
        _PREPARED.mkdir(parents=True, exist_ok=True)
        _prepare(name, path, data)
    return path


def _prepare(name: str, path: Path, data: Path) -> None:
    if name == "work":
        path.mkdir()
    elif name == "root":
        _edgepose("deploy", "--profile", "raspberrypi", "--root", path)
    elif name == "keras":
        code = "import sys, pathlib; from tests.support import marker_models as models; "
        code += "models.build_marker_heatmap_keras(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=HERE.parent)
    elif name == "float32":
        model, spec = _path("onnx", data), _path("spec", data)
        _edgepose("convert", model, "--to", "tflite", "--spec", spec, "-o", path)
    else:
        recipe = {"float16": "float16", "int8": "static_wi8_ai8"}[name]
        _edgepose(
            "quantize", _path("float32", data), "--profile", "raspberrypi5", "--recipe", recipe,
            "--calibration", _path("train", data), "-o", path,
        )  # fmt: skip


def _edgepose(*arguments: object) -> None:
    subprocess.run([str(_BIN / "edgepose"), *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
