"""A verified bundle as a folder for an app: model, spec in plain numbers, golden frames, reading guide.

Pushes an app folder to a phone with Android's adb, and times the model there with LiteRT's own program.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from edgepose.errors import ConfigError, DeployError, MissingDependencyError
from edgepose.host.bounded_process import MIB, AnswerLimits, BoundedCall, run_bounded
from edgepose.host.deploy.phone.guide import reading_guide
from edgepose.records.bundle_manifest import BundledModel, BundleManifest
from edgepose.records.model_spec import HeatmapCodecSpec
from edgepose.runtime.backend import TensorInfo
from edgepose.runtime.bundle_model import unpacked_bundle
from edgepose.runtime.open_model import open_backend
from edgepose.sandbox.python_child import find_program
from edgepose.trust.digests import sha256_of_file


@dataclass(frozen=True)
class AppFolder:
    """What was written; the names of the files are sorted."""

    folder: Path
    files: tuple[str, ...]
    size_bytes: int
    model_sha256: str


def write_app_folder(bundle: Path, output: Path) -> AppFolder:
    """Verifies a bundle and writes the folder whole; it appears only when everything is in it.

    Raises:
        ConfigError: The output exists, or the model is none that the guide describes.
        TrustError: The bundle could not be verified.
        ModelError: The model is damaged.
    """
    if output.exists():
        raise ConfigError(f"{output} is already there.", "Choose another folder, or remove it.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with unpacked_bundle(bundle) as (manifest, files):
        _require_described(manifest)
        work = Path(mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        try:
            _fill(work, manifest, files)
            work.chmod(0o755)
            work.rename(output)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    names = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    size = sum((output / name).stat().st_size for name in names)
    return AppFolder(output, tuple(names), size, manifest.model.sha256)


def _require_described(manifest: BundleManifest) -> None:
    spec = manifest.model.spec
    if (
        manifest.model.format == "tflite"
        and isinstance(spec.codec, HeatmapCodecSpec)
        and spec.input.resize == "crop"
    ):
        return
    raise ConfigError(
        f"The guide for apps describes TFLite models with heatmaps on crops; {spec.name} is "
        f"{manifest.model.format} with {type(spec.codec).__name__.removesuffix('CodecSpec')} and resize "
        f"'{spec.input.resize}'.",
        "Take a heatmap model, or decode it as its spec says.",
    )


def _fill(work: Path, manifest: BundleManifest, files: Path) -> None:
    shutil.copyfile(files / manifest.model.file, work / "pose.tflite")
    pose = _described(manifest.model, work / "pose.tflite")
    described: dict[str, Any] = {"schema": "edgepose.app/1", "pose": pose}
    if manifest.detector is not None:
        shutil.copyfile(files / manifest.detector.file, work / "detector.tflite")
        described["detector"] = _described(manifest.detector, work / "detector.tflite")
    described["bundle_version"] = manifest.bundle_version
    _write_json(work / "spec.json", described)
    golden = work / "golden"
    golden.mkdir()
    for frame in manifest.golden.frames:
        shutil.copyfile(files / frame.file, golden / Path(frame.file).name)
    _write_json(golden / "golden.json", _golden(manifest))
    (work / "README.md").write_text(reading_guide(manifest, pose), encoding="utf-8")


def _described(model: BundledModel, file: Path) -> dict[str, Any]:
    backend, spec = open_backend(file), model.spec
    return {
        "file": file.name,
        "sha256": sha256_of_file(file),
        "input": _tensor(backend.input)
        | {
            "color_order": spec.input.color_order,
            "mean": list(spec.input.mean),
            "std": list(spec.input.std),
            "pad_value": spec.input.pad_value,
            "resize": spec.input.resize,
            "box_scale": spec.input.box_scale,
        },
        "outputs": [_tensor(output) for output in backend.outputs],
        "min_pose_score": spec.min_pose_score,
        "keypoint_names": [] if spec.paradigm == "detector" else list(spec.pose_skeleton.keypoint_names),
    }


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype),
        "scale": tensor.scale or None,
        "zero_point": tensor.zero_point if tensor.scale else None,
    }


def _golden(manifest: BundleManifest) -> dict[str, Any]:
    skeleton = manifest.model.spec.pose_skeleton
    return {
        "schema": "edgepose.app_golden/1",
        "tolerance_oks": manifest.golden.tolerance_oks,
        "oks_sigmas": list(skeleton.oks_sigmas),
        "frames": [
            {
                "file": Path(frame.file).name,
                "box_xyxy_px": None if frame.box_xyxy_px is None else list(frame.box_xyxy_px),
                "area_px2": frame.area_px2,
                "keypoints": [list(row) for row in frame.keypoints],
            }
            for frame in manifest.golden.frames
        ],
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


PLACE = "/data/local/tmp/edgepose"
_LIMITS = AnswerLimits(bytes=16 * MIB, silence_s=300.0, total_s=900.0)
# What LiteRT's benchmark_model prints at its end (tensorflow/lite/tools/benchmark/README.md).
_TIMINGS = re.compile(
    r"Inference timings in us: Init: (?P<init>[0-9.e+]+), First inference: (?P<first>[0-9.e+]+), "
    r"Warmup \(avg\): (?P<warmup>[0-9.e+]+), Inference \(avg\): (?P<mean>[0-9.e+]+)"
)
_DELEGATED = re.compile(r"Explicitly applied (\S+) delegate, and the model graph will be (\w+) executed")


@dataclass(frozen=True)
class PhoneTimings:
    """What benchmark_model printed.

    Attributes:
        init_ms: Loading.
        first_inference_ms: The first one.
        mean_ms: Mean of those after the warm-up; it prints no percentiles.
        delegate: The delegate that it says it applied, or None.
    """

    init_ms: float
    first_inference_ms: float
    mean_ms: float
    delegate: str | None


@dataclass(frozen=True)
class Phone:
    """A phone behind adb.

    Attributes:
        serial: Which one; None where there is one only.
    """

    serial: str | None = None

    def push(self, folder: Path) -> str:
        """Copies a folder; returns where it is.

        Raises:
            MissingDependencyError: There is no adb.
            DeployError: There is no phone, or it does not take the files.
        """
        self._adb("shell", "rm", "-rf", PLACE)
        self._adb("push", str(folder.absolute()), PLACE)
        return PLACE

    def benchmark(self, program: Path, threads: int) -> PhoneTimings:
        """Runs LiteRT's ``benchmark_model``, which the user brings, on the pushed model.

        Raises:
            ConfigError: There is no such program here.
            MissingDependencyError: There is no adb.
            DeployError: The phone cannot run it, or it printed no timings.
        """
        if not program.is_file():
            raise ConfigError(f"{program} is no file.", "Give LiteRT's benchmark_model for android_arm64.")
        there = f"{PLACE}/benchmark_model"
        self._adb("push", str(program.absolute()), there)
        self._adb("shell", "chmod", "755", there)
        said = self._adb(
            "shell", there, f"--graph={PLACE}/pose.tflite", f"--num_threads={threads}", "--use_xnnpack=true"
        )
        return parse_timings(said)

    def _adb(self, *words: str) -> str:
        adb = find_program("adb")
        if adb is None:
            raise MissingDependencyError("There is no adb here.", "Install it: apt install adb")
        chosen = [] if self.serial is None else ["-s", self.serial]
        done = run_bounded(BoundedCall([adb, *chosen, *words], f"The phone's adb {words[0]}", _LIMITS))
        stdout = done.stdout.decode(errors="replace")
        if done.code:
            lines = (done.stderr or stdout).strip().splitlines()
            raise DeployError(
                f"adb {words[0]} failed: {lines[-1] if lines else 'no message'}.",
                "Is the phone plugged in, unlocked, and USB debugging allowed? See: adb devices",
            )
        return stdout + done.stderr


def parse_timings(text: str) -> PhoneTimings:
    """Reads what benchmark_model printed.

    Raises:
        DeployError: It holds no timings.
    """
    found = _TIMINGS.search(text)
    if found is None:
        last = text.strip().splitlines()[-1:] or ["nothing"]
        raise DeployError(f"benchmark_model printed no timings; it ended with: {last[0]}")
    delegate = _DELEGATED.search(text)
    return PhoneTimings(
        init_ms=float(found["init"]) / 1000,
        first_inference_ms=float(found["first"]) / 1000,
        mean_ms=float(found["mean"]) / 1000,
        delegate=f"{delegate[1]}, {delegate[2]}" if delegate else None,
    )
