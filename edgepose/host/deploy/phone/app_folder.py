"""A verified bundle as a folder for an app: model, spec in plain numbers, golden frames, reading guide."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from edgepose.errors import ConfigError
from edgepose.host.deploy.phone.guide import reading_guide
from edgepose.inference.backend import TensorInfo
from edgepose.inference.bundle_model import unpacked_bundle
from edgepose.inference.open_model import open_backend
from edgepose.spec.bundle_manifest import BundledModel, BundleManifest
from edgepose.spec.model_spec import HeatmapCodecSpec
from edgepose.trust.digests import sha256_of_file


@dataclass(frozen=True)
class AppFolder:
    """What was written.

    Attributes:
        folder: The folder.
        files: Names in it, sorted.
        size_bytes: All of them together.
        model_sha256: Digest of the pose model.
    """

    folder: Path
    files: tuple[str, ...]
    size_bytes: int
    model_sha256: str


def write_app_folder(bundle: Path, output: Path) -> AppFolder:
    """Writes the folder whole; it appears only when everything is in it.

    Args:
        bundle: The bundle, verified first.
        output: A folder that is not there yet.

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
