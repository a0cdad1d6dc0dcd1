"""Packs models, golden frames and profile into one bundle, if the models may go into it.

The same inputs give the same bytes.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import cv2
import msgspec
import numpy as np

from edgepose import __version__
from edgepose.errors import ConfigError, GateFailedError, ModelError
from edgepose.host.bundle.device_lock import locks_of
from edgepose.host.bundle.sbom import bundle_sbom
from edgepose.host.bundle.signing import Content, archive_bytes, archive_pieces, files_to_sign
from edgepose.host.keys.ceremony import Sign
from edgepose.host.models.artifact import ModelArtifact, open_artifact
from edgepose.host.models.golden import (
    DEFAULT_TOLERANCE_OKS,
    GOLDEN_FRAMES,
    GoldenImage,
    choose_golden,
    detect_golden,
    golden_from_parent,
)
from edgepose.host.quantize.delegates.check import compiled_member
from edgepose.records.bundle_manifest import (
    SBOM_NAME,
    BundledFile,
    BundledModel,
    BundleManifest,
    EvaluationSummary,
    GoldenFrame,
    GoldenSet,
    Provenance,
    manifest_content,
)
from edgepose.records.device_profile import DeviceProfile, Precision
from edgepose.records.drift_record import REFERENCE_NAME, DriftReference
from edgepose.records.files import write_whole
from edgepose.records.lineage import Lineage
from edgepose.records.record import to_json
from edgepose.runtime.bundle_model import GOLDEN_SCORE_THRESHOLD
from edgepose.runtime.model_file import ModelFile
from edgepose.runtime.pipeline import PersonDetector
from edgepose.trust.digests import sha256_of_bytes, sha256_of_file


@dataclass(frozen=True)
class AdmittedModel:
    """A model that the profile allows, and what the manifest says about it."""

    source: ModelArtifact
    record: BundledModel

    @property
    def lineage(self) -> Lineage | None:
        """Its history, or None for a file that edgepose did not make."""
        return self.source.lineage


def admit_model(
    model: Path | ModelArtifact, spec_file: Path | None, profile: DeviceProfile, gate: dict[str, Any] | None
) -> AdmittedModel:
    """Admits a pose model; what was opened before is not read again. Without a gate none was asked.

    Raises:
        ConfigError: The profile does not run this format or precision, or the file is a detector.
        ModelError: The model is damaged, or not integer only where the profile needs it.
        GateFailedError: The gate failed, or a quantized model cannot show its agreement.
    """
    admitted = _admit(model, spec_file, profile, "model")
    path = admitted.source.path
    if admitted.record.spec.paradigm == "detector":
        raise ConfigError(
            f"{path.name} is a person detector, expected a pose model.", "Give it with --detector."
        )
    if gate is not None:
        if gate.get("passed") is not True:
            raise GateFailedError(f"The gate did not pass for {path.name}: {gate.get('failures')}.")
    elif admitted.lineage is not None:
        check_agreement(admitted.lineage, profile, path.name)
    return admitted


def admit_detector(
    model: Path | ModelArtifact, spec_file: Path | None, profile: DeviceProfile
) -> AdmittedModel:
    """Admits a person detector.

    Raises:
        ConfigError: The profile does not run this format or precision, or the file is no detector.
        ModelError: The model is damaged, or not integer only where the profile needs it.
    """
    admitted = _admit(model, spec_file, profile, "detector")
    if admitted.record.spec.paradigm != "detector":
        raise ConfigError(f"{admitted.source.path.name} is a pose model, expected a person detector.")
    return admitted


def check_agreement(lineage: Lineage, profile: DeviceProfile, name: str) -> None:
    """Asks a model that edgepose quantized for its agreement with its float parent.

    Raises:
        GateFailedError: It was not measured, or is below the profile's ``min_agreement_oks``.
    """
    if not is_quantized(lineage):
        return
    found, needed = lineage.agreement_oks, profile.budgets.min_agreement_oks
    if found is None:
        raise GateFailedError(
            f"{name} was quantized and its agreement with the float parent was not measured; "
            f"expected at least {needed:.3f}.",
            "Quantize it again with more calibration images than the recipe uses.",
        )
    if found < needed:
        raise GateFailedError(
            f"{name} agrees with its float parent to OKS {found:.3f}; "
            f"profile '{profile.id}' expects at least {needed:.3f}.",
            "Use more calibration images, another recipe, or float16.",
        )


def is_quantized(lineage: Lineage) -> bool:
    """Whether the file differs in numbers from its float source."""
    return lineage.recipe is not None and lineage.recipe.kind != "none"


def _admit(
    model: Path | ModelArtifact, spec_file: Path | None, profile: DeviceProfile, stem: str
) -> AdmittedModel:
    file = model.file if isinstance(model, ModelArtifact) else ModelFile(model)
    wanted = profile.runtime.model_format
    if file.format != wanted:
        raise ConfigError(
            f"{file.name} is a {file.format} model; profile '{profile.id}' runs {wanted}.",
            f"Run: edgepose convert {file.name} --to {wanted} -o OUT",
        )
    opened = model if isinstance(model, ModelArtifact) else open_artifact(file, spec_file)
    contents = opened.contents
    if profile.quantization.integer_only and contents.integer_only is not True:
        named = ", ".join(sorted(contents.float_ops)) or "its inputs or outputs"
        raise ModelError(
            f"Profile '{profile.id}' runs integer-only models; {file.name} computes in float: {named}.",
            f"Run: edgepose quantize MODEL --profile {profile.id} --calibration DIR -o OUT",
        )
    record = BundledModel(
        file=f"{stem}.{wanted}",
        # The digest of a model with data beside it is not that of the file in the bundle.
        sha256=sha256_of_file(file.path) if file.external else opened.sha256,
        format=wanted,
        precision=_allowed_precision(opened.path, opened.precision, profile),
        spec=opened.spec,
    )
    return AdmittedModel(opened, record)


def _allowed_precision(path: Path, found: str, profile: DeviceProfile) -> Precision:
    # A quantized model in which some ops stayed in float runs, and is handled, as an int8 one.
    wanted = "int8" if found == "mixed" else found
    for allowed in profile.quantization.precisions:
        if wanted == allowed:
            return allowed
    raise ConfigError(
        f"{path.name} is {found}; profile '{profile.id}' runs {', '.join(profile.quantization.precisions)}.",
        f"Run: edgepose quantize {path.name} --profile {profile.id} --calibration DIR -o OUT",
    )


_BYTES_PER_MIB = 1 << 20
_RUNTIME_PACKAGES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}


@dataclass(frozen=True)
class BundleRequest:
    """What goes into a bundle.

    Attributes:
        model: The pose model; one that was opened before is not read again.
        bundle_version: The deployer takes the last installed one plus 1.
        gate: The gate's result, which must say ``"passed": true``; None where no gate was asked. Then a
            model that edgepose quantized must show its agreement with its float parent.
        accuracy: Whether the gate measured accuracy on labelled images.
        evaluation: What the gate judged on.
        sign: Signs the files, after all checks; None leaves the bundle unsigned.
        drift_reference: What the model was judged on; None leaves drift to what the device learns.
    """

    model: Path | ModelArtifact
    profile: DeviceProfile
    output: Path
    spec_file: Path | None = None
    detector: Path | ModelArtifact | None = None
    detector_spec_file: Path | None = None
    bundle_version: int = 1
    gate: dict[str, Any] | None = None
    accuracy: Literal["measured", "not measured"] = "not measured"
    evaluation: EvaluationSummary | None = None
    sign: Sign | None = None
    drift_reference: DriftReference | None = None


def build_bundle(request: BundleRequest) -> Path:
    """Builds a bundle; the file is there whole or not at all.

    Returns:
        ``request.output``.

    Raises:
        ConfigError: The model's format or precision is not the profile's, or the file cannot be written.
        ModelError: A model is damaged, disagrees with its spec, or the accelerator's compiler fails on it.
        GateFailedError: The gate failed or was not asked, the shipped model does not reproduce its float
            parent, or the bundle is larger than the profile's budget.
        MissingDependencyError: The model's runtime is not installed.
    """
    if not 1 <= request.bundle_version < 2**31:
        raise ConfigError(f"A bundle version is 1 to {2**31 - 1}, found {request.bundle_version}.")
    if not request.output.parent.is_dir():
        raise ConfigError(f"Cannot write the bundle {request.output}: its folder does not exist.")
    model = admit_model(request.model, request.spec_file, request.profile, request.gate)
    detector = None
    if request.detector is not None:
        detector = admit_detector(request.detector, request.detector_spec_file, request.profile)
    pictures = golden_pictures(model)
    contents: dict[str, Content] = {file: _png(picture) for file, picture in pictures.items()}
    admitted = [model, detector] if detector else [model]
    contents |= {part.record.file: part.source.path for part in admitted}
    digests = {part.record.file: part.record.sha256 for part in admitted}
    compilation, compiled = compiled_member(request.profile, model.source.path)
    contents |= compiled
    if request.drift_reference is not None:
        contents[REFERENCE_NAME] = to_json(request.drift_reference).encode()
    manifest = BundleManifest(
        bundle_version=request.bundle_version,
        model=model.record,
        detector=detector.record if detector else None,
        profile=request.profile,
        files=tuple(_listed(path, contents[path], digests) for path in sorted(contents)),
        min_runtime_version=request.profile.runtime.min_version,
        golden=_golden_set(pictures, detector),
        provenance=_provenance(request, model, detector),
        accelerator=compilation,
        drift_reference=None if request.drift_reference is None else REFERENCE_NAME,
    )
    contents[SBOM_NAME] = bundle_sbom(manifest, locks_of(manifest.profile))
    files = (*manifest.files, _listed(SBOM_NAME, contents[SBOM_NAME]))
    manifest = msgspec.structs.replace(manifest, files=tuple(sorted(files, key=lambda file: file.path)))
    _check_size(archive_bytes(manifest), request.profile)
    metadata = None
    if request.sign is not None:
        metadata = request.sign(files_to_sign(manifest, manifest_content(manifest)))
    write_whole(request.output, archive_pieces(manifest, contents, metadata))
    return request.output


def golden_pictures(model: AdmittedModel) -> dict[str, GoldenImage]:
    """The golden pictures of a bundle: path inside it to picture.

    The expected poses come from the float parent through the model's lineage; a model that edgepose did
    not make is its own parent.

    Raises:
        GateFailedError: The model does not reproduce its float parent, or its own poses are not stable.
        ModelError: The model failed.
    """
    pipeline = model.source.pipeline(GOLDEN_SCORE_THRESHOLD)
    candidates = model.lineage.golden if model.lineage else ()
    quantized = model.lineage is not None and is_quantized(model.lineage)
    if not candidates and quantized:
        raise GateFailedError(
            f"{model.source.path.name} was quantized and carries no golden poses of its float parent.",
            "Quantize it again with this edgepose.",
        )
    if not candidates:
        candidates = golden_from_parent(pipeline)
        if len(candidates) < GOLDEN_FRAMES:
            raise GateFailedError(
                f"{model.source.path.name} gives stable poses in only {len(candidates)} generated pictures, "
                f"expected {GOLDEN_FRAMES}: a little light and noise move its keypoints.",
                "Check that the model and its spec are right: edgepose evaluate MODEL.",
            )
    chosen = choose_golden(pipeline, candidates)
    return {f"golden/{index}.png": picture for index, picture in enumerate(chosen)}


def _golden_set(pictures: dict[str, GoldenImage], detector: AdmittedModel | None) -> GoldenSet:
    frames = [
        GoldenFrame(file=file, **msgspec.structs.asdict(picture.pose)) for file, picture in pictures.items()
    ]
    if detector is None:
        return GoldenSet(tolerance_oks=DEFAULT_TOLERANCE_OKS, frames=tuple(frames))
    stage = PersonDetector(detector.source.backend, detector.record.spec, GOLDEN_SCORE_THRESHOLD)
    return GoldenSet(
        tolerance_oks=DEFAULT_TOLERANCE_OKS, frames=tuple(frames), detections=detect_golden(stage, pictures)
    )


def _provenance(request: BundleRequest, model: AdmittedModel, detector: AdmittedModel | None) -> Provenance:
    parts = [part for part in (model, detector) if part]
    runtime = _RUNTIME_PACKAGES[request.profile.runtime.name]
    tools = {"python": platform.python_version(), "numpy": np.__version__, "opencv": cv2.__version__}
    tools[runtime] = version(runtime)
    return Provenance(
        created_by=f"edgepose {__version__}",
        licences=tuple(sorted({part.record.spec.licence for part in parts})),
        tools=dict(sorted(tools.items())),
        accuracy=request.accuracy,
        model=_without_golden(model.lineage),
        detector=_without_golden(detector.lineage) if detector else None,
        gate=request.gate,
        evaluation=request.evaluation,
    )


def _without_golden(lineage: Lineage | None) -> Lineage | None:
    """The frames that matter stand in the manifest; all candidates are in the model file."""
    return msgspec.structs.replace(lineage, golden=()) if lineage else None


def _listed(path: str, content: Content, digests: Mapping[str, str] = MappingProxyType({})) -> BundledFile:
    if isinstance(content, Path):
        return BundledFile(path=path, sha256=digests[path], size_bytes=content.stat().st_size)
    return BundledFile(path=path, sha256=sha256_of_bytes(content), size_bytes=len(content))


def _png(picture: GoldenImage) -> bytes:
    """The picture without loss; OpenCV writes PNG without a date."""
    written, data = cv2.imencode(".png", cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR))
    if not written:
        raise ConfigError("OpenCV cannot write PNG here.", "Reinstall opencv-python-headless.")
    return data.tobytes()


def _check_size(size_bytes: int, profile: DeviceProfile) -> None:
    size_mib, budget_mib = size_bytes / _BYTES_PER_MIB, profile.budgets.bundle_mib
    if size_mib > budget_mib:
        raise GateFailedError(
            f"The bundle has {size_mib:.1f} MiB; profile '{profile.id}' allows {budget_mib:.1f} MiB.",
            "Use a smaller model or a lower precision.",
        )
