"""What a bundle holds: the one file that goes to a device, described by its manifest.

What ``builtin_models/manifest.json`` says of the models that travel in the wheel.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

from edgepose.accelerators import accelerator
from edgepose.records.accelerator import AcceleratorCompilation
from edgepose.records.device_profile import DeviceProfile, Precision
from edgepose.records.lineage import GoldenPose, Lineage
from edgepose.records.model_spec import ModelSpec
from edgepose.records.record import Record, Sha256, plain_json, to_builtins

MANIFEST_NAME = "manifest.json"
MANIFEST_DIGEST_NAME = "manifest.sha256"
METADATA_FOLDER = "metadata/"
# The bill of materials: an ordinary file of the bundle, which older bundles do not have.
SBOM_NAME = "sbom.cdx.json"
# USTAR keeps a name of up to 100 bytes in one field; longer ones would need extensions.
MAX_PATH_LENGTH = 100

_SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


def path_problem(path: str) -> str | None:
    """Says why a path must not be in a bundle, or None where it may.

    Allowed are relative paths of plain ASCII names, at most 100 characters, that stay inside.
    """
    if path.startswith("/"):
        return "is absolute"
    if ".." in path.split("/"):
        return "leaves the bundle with '..'"
    if len(path) > MAX_PATH_LENGTH:
        return f"is longer than {MAX_PATH_LENGTH} characters"
    if not all(_SAFE_PART.fullmatch(part) for part in path.split("/")):
        return "has characters other than letters, digits, '_', '.', '-' or an empty or hidden part"
    return None


class BundledFile(Record, frozen=True, kw_only=True):
    """A file inside the bundle.

    Attributes:
        path: Relative path with forward slashes.
        sha256: Digest of its content.
        size_bytes: Its exact size.
    """

    path: str
    sha256: Sha256
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]

    def __post_init__(self) -> None:
        problem = path_problem(self.path)
        if problem:
            raise ValueError(f"path '{self.path}' {problem}")


class BundledModel(Record, frozen=True, kw_only=True):
    """A model inside the bundle.

    Attributes:
        file: Path inside the bundle.
        sha256: Digest of the file.
        format: What the device's runtime loads.
        precision: Precision of its arithmetic.
        spec: How to run it; the same as inside the file where the file carries one.
    """

    file: str
    sha256: Sha256
    format: Literal["tflite", "onnx"]
    precision: Precision
    spec: ModelSpec


class GoldenFrame(GoldenPose, frozen=True, kw_only=True):
    """An image in the bundle with the pose that the float parent sees in it.

    Attributes:
        file: Path of the PNG inside the bundle.
    """

    file: str


class GoldenDetection(Record, frozen=True, kw_only=True):
    """What the detector finds in a golden image.

    Attributes:
        file: Path of the PNG inside the bundle.
        box_xyxy_px: Its best-scored box, pixels of the image.
    """

    file: str
    box_xyxy_px: tuple[float, float, float, float]


class GoldenSet(Record, frozen=True, kw_only=True):
    """The images that are replayed before a model may become active.

    Attributes:
        tolerance_oks: OKS with the expected pose that every frame must reach.
        frames: The images and expected poses.
        tolerance_iou: IoU with the expected box that every detection must reach.
        detections: What the detector must find; empty without a detector.
    """

    tolerance_oks: Fraction
    frames: Annotated[tuple[GoldenFrame, ...], msgspec.Meta(min_length=1, max_length=16)]
    tolerance_iou: Fraction = 0.7
    detections: Annotated[tuple[GoldenDetection, ...], msgspec.Meta(max_length=16)] = ()


class EvaluationSummary(Record, frozen=True, kw_only=True):
    """What the gate judged on; no path and no time, so that the same inputs give the same bytes.

    Attributes:
        method: ``labels``: OKS-AP against labels; ``agreement``: mean OKS with the float parent.
        parent_sha256: Digest of the float model compared with.
        dataset_digest: Digest of the labelled images; None for ``agreement``.
        samples: Persons or poses.
        value: The AP or the agreement, or None where it could not be measured.
        delta: Paired difference of the AP to the float parent, or None.
    """

    method: Literal["labels", "agreement"]
    parent_sha256: Sha256
    dataset_digest: str | None
    samples: int
    value: float | None
    delta: float | None = None


class Provenance(Record, frozen=True, kw_only=True):
    """Where everything in the bundle came from.

    Attributes:
        created_by: Name and version of the program that made the bundle.
        licences: Licences of the models, sorted.
        tools: Tool name to version.
        accuracy: Whether accuracy was measured on labelled images.
        model: History of the pose model; None for a file that edgepose did not make.
        detector: History of the detector; None without one or for a foreign one.
        gate: The gate's result as it was recorded, or None where no gate was asked.
        evaluation: What the gate judged on, or None where no gate was asked.
    """

    created_by: str
    licences: tuple[str, ...]
    tools: dict[str, str]
    accuracy: Literal["measured", "not measured"]
    model: Lineage | None = None
    detector: Lineage | None = None
    gate: dict[str, Any] | None = None
    evaluation: EvaluationSummary | None = None


class BundleManifest(Record, frozen=True, kw_only=True):
    """The manifest. It holds no time, so that the same inputs give the same bytes.

    Attributes:
        schema: ``edgepose.bundle/1``.
        bundle_version: Grows with every bundle for a device; lower than the installed one is a downgrade.
        model: The pose model.
        profile: The whole device profile the bundle was made for.
        files: Every file of the bundle but the manifest and its digest, sorted by path.
        min_runtime_version: Oldest runtime that may run the model.
        golden: What is replayed before the model may become active.
        provenance: Where everything came from.
        detector: The person detector in front of the pose model, or None.
        accelerator: Whether the pose model is compiled for the profile's accelerator; None where that takes
            the model as it is.
        drift_reference: Path of what the model was judged on, by which drift is told; None without one.
    """

    schema: Literal["edgepose.bundle/1"] = "edgepose.bundle/1"
    bundle_version: Version
    model: BundledModel
    profile: DeviceProfile
    files: Annotated[tuple[BundledFile, ...], msgspec.Meta(min_length=1, max_length=64)]
    min_runtime_version: str
    golden: GoldenSet
    provenance: Provenance
    detector: BundledModel | None = None
    accelerator: AcceleratorCompilation | None = None
    drift_reference: str | None = None

    def __post_init__(self) -> None:
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files must be sorted by path, each path once")
        reserved = {MANIFEST_NAME, MANIFEST_DIGEST_NAME} & set(paths)
        if reserved:
            raise ValueError(f"files must not list {', '.join(sorted(reserved))}")
        if any(path.startswith(METADATA_FOLDER) for path in paths):
            raise ValueError(f"files must not list anything in {METADATA_FOLDER}, which is for signatures")
        self._check_models({file.path: file.sha256 for file in self.files})
        self._check_golden(set(paths))
        self._check_accelerator(set(paths))
        if self.drift_reference is not None and self.drift_reference not in paths:
            raise ValueError(f"drift_reference '{self.drift_reference}' is not in files")

    def model_file(self, *, on_device: bool) -> str:
        """Path of the pose model to run: a compiled one on the device alone, else ``model.file``."""
        compiled = self.accelerator.file if self.accelerator is not None and on_device else None
        return compiled or self.model.file

    def _check_models(self, digests: dict[str, str]) -> None:
        if self.model.spec.paradigm == "detector":
            raise ValueError("model.spec.paradigm is 'detector', expected a pose model")
        if self.detector is not None and self.detector.spec.paradigm != "detector":
            raise ValueError("detector.spec.paradigm must be 'detector'")
        for name, model in (("model", self.model), ("detector", self.detector)):
            if model is None:
                continue
            if digests.get(model.file) != model.sha256:
                raise ValueError(f"{name}.file '{model.file}' is not in files with {name}.sha256")
            if model.format != self.profile.runtime.model_format:
                raise ValueError(f"{name}.format is not the profile's {self.profile.runtime.model_format}")
            if model.precision not in self.profile.quantization.precisions:
                raise ValueError(f"{name}.precision '{model.precision}' is not one of the profile's")

    def _check_accelerator(self, paths: set[str]) -> None:
        found, wanted = self.accelerator, accelerator(self.profile.runtime.delegate)
        if found is None:
            return
        if found.name != wanted.name or not wanted.compiler:
            raise ValueError(f"accelerator is '{found.name}' and the delegate is '{wanted.name}'")
        if found.file is not None and found.file not in paths - {self.model.file}:
            raise ValueError(f"accelerator.file '{found.file}' is not a file of its own in files")

    def _check_golden(self, paths: set[str]) -> None:
        keypoints = self.model.spec.pose_skeleton.keypoint_count
        images = [frame.file for frame in self.golden.frames]
        images += [detection.file for detection in self.golden.detections]
        unlisted = sorted(set(images) - paths)
        if unlisted:
            raise ValueError(f"golden pictures {', '.join(unlisted)} are not in files")
        if any(len(frame.keypoints) != keypoints for frame in self.golden.frames):
            raise ValueError(f"golden poses must have {keypoints} keypoints")
        if (self.detector is None) != (not self.golden.detections):
            raise ValueError("golden.detections and detector belong together")


def manifest_content(manifest: BundleManifest) -> bytes:
    """The bytes of a manifest; what an older device does not know is left out where it says nothing."""
    plain = to_builtins(manifest)
    if plain["accelerator"] is None:
        del plain["accelerator"]
    return (plain_json(plain, indent=1) + "\n").encode()


def current_manifest(plain: object) -> object:
    """A manifest as it is read today: in older bundles the Edge TPU's part had a key of its own.

    Args:
        plain: What its JSON holds; it stays as it is.
    """
    if not isinstance(plain, dict) or "edgetpu" not in plain:
        return plain
    if "accelerator" in plain:
        raise ValueError("it has both accelerator and edgetpu")
    found = plain["edgetpu"]
    named = {**found, "name": "edgetpu"} if isinstance(found, dict) else found
    rest = {key: value for key, value in plain.items() if key != "edgetpu"}
    return rest if found is None else {**rest, "accelerator": named}


BuiltinRole = Literal["pose", "detector"]


class BuiltinFile(Record, frozen=True, kw_only=True):
    """One file.

    Attributes:
        file: Its name.
        sha256: Its digest.
        role: What it does.
        precision: ``float32`` is ONNX and the parent of the others; ``int8`` is TFLite, integers only.
    """

    file: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]+$")]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    role: BuiltinRole
    precision: Literal["float32", "int8"]


class BuiltinManifest(Record, frozen=True, kw_only=True):
    """All of them.

    Attributes:
        schema: ``edgepose.builtin/1``.
        licence: Of the weights, in a sentence; the whole text lies beside the manifest.
        files: The models.
    """

    schema: Literal["edgepose.builtin/1"]
    licence: str
    files: tuple[BuiltinFile, ...]
