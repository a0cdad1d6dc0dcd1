"""How large the house is and how far one deployment walks through it.

Counted: files and lines of ``edgepose/``; the modules that one int8 deployment imports and enters, how often
it opens a model file, makes an interpreter and begins a digest; how often a result is turned into bytes where
file, socket and page all take it; how many files name a thing that one might add another of. Counts, no
times: a busy machine changes nothing. Only the program's own process is counted, before and after alike.

Usage: python benchmarks/house.py [--output FILE] [--before FILE]
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import edgepose

PACKAGE = Path(edgepose.__file__).resolve().parent
RESULT = Path(__file__).resolve().parent / "results" / "house.json"
PROFILE = "raspberrypi5"
FRAMES = 20
# What one might add another of, and a word that every file has that knows of one.
NAMED = {
    "codec": r"simcc",
    "accelerator": r"edgetpu|edge tpu",
    "telemetry_figure": r"\bthrottled\b",
    "deploy_option": r"\bfloat_parent\b",
    "deploy_option_remote": r"\bhost_fingerprint\b",
}


def main() -> None:
    """Counts, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--before", type=Path, help="a record of this script on an earlier tree")
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare)
        return
    if arguments.part:
        print(json.dumps(PARTS[arguments.part]()))
        return
    record: dict[str, Any] = {"size": size(), "files_that_name": files_that_name()}
    for part in sorted(PARTS):
        call = [sys.executable, __file__, "--part", part]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{part}: {done.stderr[-2000:]}")
        record[part] = json.loads(done.stdout.splitlines()[-1])
    if arguments.before:
        record["before"] = json.loads(arguments.before.read_text(encoding="utf-8"))
    arguments.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def size() -> dict[str, int]:
    """Python files of the package, and their lines."""
    files = sorted(PACKAGE.rglob("*.py"))
    lines = sorted(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
    return {"files": len(files), "lines": sum(lines), "median_lines": lines[len(lines) // 2]}


def files_that_name() -> dict[str, dict[str, Any]]:
    """For each thing of ``NAMED``: the files of the package in whose code or text its word stands."""
    texts = {file: file.read_text(encoding="utf-8") for file in sorted(PACKAGE.rglob("*.py"))}
    return {
        thing: {
            "word": word,
            "files": [
                str(file.relative_to(PACKAGE))
                for file, text in texts.items()
                if re.search(word, text, re.IGNORECASE)
            ],
        }
        for thing, word in NAMED.items()
    }


def prepare(folder: Path) -> None:
    """Writes the constructed model, its spec and drawn images, in a process that is not counted."""
    sys.path.insert(0, str(PACKAGE.parent))
    from tests.support.marker_models import build_marker_heatmap_onnx, marker_spec_toml
    from tests.support.marker_scene import write_marker_set

    build_marker_heatmap_onnx(folder / "model.onnx")
    (folder / "model.toml").write_text(marker_spec_toml("heatmap"), encoding="utf-8")
    write_marker_set(folder / "set", count=FRAMES, seed=3)


def _prepared(folder: Path) -> tuple[str, ...]:
    subprocess.run([sys.executable, __file__, "--prepare", str(folder)], check=True)
    return "--model", str(folder / "model.onnx"), "--spec", str(folder / "model.toml")


def deployment() -> dict[str, Any]:
    """One int8 deployment of the constructed model to a preview root, from ONNX to an installed .tflite."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["deploy", "--profile", PROFILE, *_prepared(folder), "--calibration", folder / "set"]
        words += ["--root", folder / "root", "--unsigned", "--json", folder / "report.json"]
        return _counted([str(word) for word in words])


def _counted(words: list[str]) -> dict[str, Any]:
    import onnx
    from ai_edge_litert import interpreter

    operators = len(onnx.load(words[words.index("--model") + 1]).graph.node)
    opened: collections.Counter[str] = collections.Counter()
    digests: collections.Counter[str] = collections.Counter()
    made: collections.Counter[str] = collections.Counter()

    def audit(event: str, values: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(values[0], str | bytes | os.PathLike):
            place = os.fspath(values[0])
            text = place.decode(errors="replace") if isinstance(place, bytes) else place
            if text.endswith((".onnx", ".tflite")) and not (values[2] or 0) & (os.O_WRONLY | os.O_RDWR):
                opened[Path(text).name] += 1

    def sha256(*values: Any, **named: Any) -> Any:
        digests["sha256"] += 1
        return real(*values, **named)

    real, hashlib.sha256 = hashlib.sha256, sha256
    for kind in ("Interpreter",):
        _count_made(getattr(interpreter, kind), made, kind)
    import onnxruntime

    _count_made(onnxruntime.InferenceSession, made, "InferenceSession")
    from edgepose.cli.main import command

    entered = _watch_entries()
    sys.addaudithook(audit)
    command.main(words, standalone_mode=False)
    sys.setprofile(None)
    loaded = {name for name in sys.modules if name.startswith("edgepose")}
    rooms = collections.Counter(".".join(name.split(".")[:3]) for name in loaded)
    return {
        "operators": operators,
        "profile": PROFILE,
        "modules_imported": len(loaded),
        "modules_entered": len(entered),
        "modules_by_room": dict(rooms.most_common()),
        "model_openings": sum(opened.values()) + sum(made.values()),
        "model_files_read": sum(opened.values()),
        "files": dict(opened),
        "interpreters_made": dict(made),
        "digests": digests["sha256"],
    }


def _count_made(cls: Any, made: collections.Counter[str], name: str) -> None:
    begin = cls.__init__

    def counted(self: Any, *values: Any, **named: Any) -> None:
        made[name] += 1
        begin(self, *values, **named)

    cls.__init__ = counted


def _watch_entries() -> set[str]:
    """Files of the package in which a function begins, in any thread that begins from now on."""
    entered: set[str] = set()
    root = str(PACKAGE) + os.sep

    def profile(frame: Any, event: str, _argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(root) and code.co_name != "<module>":
            entered.add(code.co_filename)

    threading.setprofile(profile)
    sys.setprofile(profile)
    return entered


def serializations() -> dict[str, Any]:
    """How often a frame's result becomes bytes in the run's own process: file, socket and page on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["run", folder / "set" / "images", *_prepared(folder), "--output", folder / "poses.jsonl"]
        words += ["--socket", folder / "socket", "--live-page", "--port", "0"]
        return _encodings([str(word) for word in words], folder / "poses.jsonl")


def _encodings(words: list[str], lines: Path) -> dict[str, Any]:
    calls: collections.Counter[str] = collections.Counter()
    root = str(PACKAGE / "device")
    encoders = {"dumps", "encode_lines", "encode_into"}

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name in encoders:
            caller = frame.f_back
        elif event == "c_call" and argument.__name__ in {"encode", "encode_into", "encode_lines"}:
            if type(argument.__self__).__name__ != "Encoder" and argument.__module__ != "msgspec.json":
                return
            caller = frame
        else:
            return
        if caller is not None and caller.f_code.co_filename.startswith(root):
            calls[f"{Path(caller.f_code.co_filename).name}:{caller.f_code.co_name}"] += 1

    from edgepose.cli.main import command

    threading.setprofile(profile)
    sys.setprofile(profile)
    command.main(words, standalone_mode=False)
    sys.setprofile(None)
    frames = len(lines.read_text(encoding="utf-8").splitlines())
    each = {name: count for name, count in calls.items() if count >= frames // 2}
    return {"frames": frames, "a_frame": round(sum(each.values()) / frames, 2), "calls": each}


PARTS = {"deployment": deployment, "serializations": serializations}

if __name__ == "__main__":
    main()
