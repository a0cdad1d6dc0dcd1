"""Whether a model may go into a bundle for a profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import ConfigError, GateFailedError, ModelError
from edgepose.host.models.artifact import ModelArtifact, open_artifact
from edgepose.records.bundle_manifest import BundledModel
from edgepose.records.device_profile import DeviceProfile, Precision
from edgepose.records.lineage import Lineage
from edgepose.runtime.model_file import ModelFile
from edgepose.trust.digests import sha256_of_file


@dataclass(frozen=True)
class AdmittedModel:
    """A model that the profile allows.

    Attributes:
        source: The model on this machine.
        record: What the manifest says about it.
    """

    source: ModelArtifact
    record: BundledModel

    @property
    def lineage(self) -> Lineage | None:
        """Its history, or None for a file that edgepose did not make."""
        return self.source.lineage


def admit_model(
    model: Path | ModelArtifact, spec_file: Path | None, profile: DeviceProfile, gate: dict[str, Any] | None
) -> AdmittedModel:
    """Admits a pose model.

    Args:
        model: The model; what was opened before is not read again.
        spec_file: Spec of a model that carries none.
        profile: The device.
        gate: The gate's result; None where no gate was asked.

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
