"""The whole way on one machine: deploy the built-in model, run it on a clip, look at a report.

Every step is a command that a user would type. The clip shows people who do not exist, so nobody's picture
is needed; accuracy on drawn figures says little about accuracy on people, which the model card has.

Usage: python -m examples.demo [FOLDER]
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

_PROFILE = "raspberrypi"
_PROJECT = Path(__file__).resolve().parent.parent
_BUILTIN = _PROJECT / "builtin_models"
_FIGURES = _PROJECT / "calibration_data" / "figures"
_FORMS = {"float": "edgepose-s.onnx", "int8": "edgepose-s_int8.tflite"}
_BENCHMARK_S = 4


def main() -> None:
    """Films a clip, deploys, runs, measures, reports."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    root, poses = folder / "root", folder / "poses.jsonl"
    edgepose("data", "synth", "-o", folder / "clip", "--video", 6, "--persons", "1-2", "--style", "clear")
    clip = next((folder / "clip").glob("*.mp4"))
    edgepose("deploy", "--profile", _PROFILE, "--root", root, "--json", folder / "deployment.json")
    edgepose("run", clip, "--root", root, "--output", poses, "--render", folder / "overlay.mp4")
    edgepose("status", "--root", root)
    records = [folder / "deployment.json", *measure(folder)]
    report = folder / "report.html"
    digest = json.loads((folder / "accuracy_int8.json").read_text())["dataset"]["digest"]
    named = f"{digest}=drawn figures, not people"
    edgepose("report", *records, "--data", named, "--poses", poses, "--video", clip, "-o", report)
    print(f"\nLook at {report} and {folder / 'overlay.mp4'}.")


def measure(folder: Path) -> list[Path]:
    """Accuracy on drawn figures and latency on this machine, of the float model and of int8."""
    records = []
    labels = ["--annotations", _FIGURES / "person_keypoints.json", "--images", _FIGURES / "images"]
    for form, name in _FORMS.items():
        baseline = [] if form == "float" else ["--baseline", _BUILTIN / _FORMS["float"], "--slices"]
        accuracy, speed = folder / f"accuracy_{form}.json", folder / f"speed_{form}.json"
        edgepose("evaluate", _BUILTIN / name, *labels, *baseline, "--json", accuracy)
        edgepose("benchmark", _BUILTIN / name, "--threads", 1, "--duration-s", _BENCHMARK_S, "--json", speed)
        records += [accuracy, speed]
    return records


def edgepose(*arguments: object) -> None:
    """Shows a command and runs it."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ edgepose {' '.join(words)}", flush=True)
    subprocess.run([str(Path(sys.executable).parent / "edgepose"), *words], check=True)


if __name__ == "__main__":
    main()
