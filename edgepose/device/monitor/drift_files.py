"""What drift leaves in a device root: what was learned, what is known, and a request for a better model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepose.device.install.layout import Layout, make_var, read_of_service, read_record_of_service
from edgepose.errors import ConfigError
from edgepose.records.bundle_manifest import BundleManifest
from edgepose.records.drift_record import DriftBaseline, DriftEvent, DriftStatus, RetrainingRequest
from edgepose.records.files import write_whole
from edgepose.records.record import from_json, to_json
from edgepose.runtime.drift_features import FEATURES


@dataclass(frozen=True)
class DriftFiles:
    """The files of one device root."""

    root: Path

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return Layout(self.root).drift

    @property
    def request(self) -> Path:
        """The request for a better model."""
        return self.folder / "retraining_request.json"

    def baseline(self) -> DriftBaseline | None:
        """What was learned; None where nothing was, or it is damaged: then it is learned anew."""
        return read_record_of_service(self.folder / "baseline.json", DriftBaseline)

    def status(self) -> DriftStatus | None:
        """What is known; None where nothing is, or it is damaged."""
        return read_record_of_service(self.folder / "status.json", DriftStatus)

    def written_ns(self) -> int | None:
        """When the status was written last; None where there is none."""
        try:
            return (self.folder / "status.json").stat().st_mtime_ns
        except OSError:
            return None

    def write(self, baseline: DriftBaseline | None, status: DriftStatus) -> None:
        """Writes both, each whole or not at all; a ``baseline`` of None leaves it as it is.

        Raises:
            ConfigError: They cannot be written.
        """
        self._prepare()
        if baseline is not None:
            write_whole(self.folder / "baseline.json", [to_json(baseline).encode()])
        write_whole(self.folder / "status.json", [to_json(status).encode()])

    def ask(self, request: RetrainingRequest) -> None:
        """Writes the request; a later one replaces it.

        Raises:
            ConfigError: It cannot be written.
        """
        self._prepare()
        write_whole(self.request, [to_json(request, indent=2).encode() + b"\n"])

    def forget(self) -> bool:
        """Removes everything, so that the camera is learned anew; whether there was anything.

        Raises:
            ConfigError: It cannot be removed.
        """
        try:
            found = [self.folder / name for name in ("baseline.json", "status.json")]
            found = [path for path in (*found, self.request) if path.exists()]
            for path in found:
                path.unlink()
        except OSError as problem:
            raise ConfigError(f"Cannot empty {self.folder}: {problem.strerror}.") from problem
        return bool(found)

    def _prepare(self) -> None:
        try:
            make_var(self.root)
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as problem:
            raise ConfigError(f"Cannot write {self.folder}: {problem.strerror}.") from problem


def known_drift(root: Path) -> DriftStatus:
    """What is known in a device root.

    Raises:
        ConfigError: Nothing is known there.
    """
    status = DriftFiles(root).status()
    if status is None:
        raise ConfigError(f"Nothing is known about drift in {root}.", "It is looked for by the service.")
    return status


def asked_for(root: Path) -> RetrainingRequest:
    """The request in a device root.

    Raises:
        ConfigError: There is none, or it is damaged.
    """
    path = DriftFiles(root).request
    content = read_of_service(path)
    if content is None:
        raise ConfigError(
            f"The device root {root} asks for nothing.", "A request is written when something drifts."
        )
    return from_json(content, RetrainingRequest, str(path))


@dataclass(frozen=True)
class RunningModel:
    """What is running, as far as a request has to name it.

    Attributes:
        reference_sha256: Digest of the drift reference in it; None without one.
    """

    manifest: BundleManifest
    reference_sha256: str | None


def retraining_request(
    model: RunningModel, drifted: tuple[DriftEvent, ...], requested_at: str
) -> RetrainingRequest:
    """Puts the request together."""
    manifest = model.manifest
    lineage = manifest.provenance.model
    recipe = lineage.recipe.name if lineage and lineage.recipe else None
    return RetrainingRequest(
        requested_at=requested_at,
        model=manifest.model.spec.name,
        model_sha256=manifest.model.sha256,
        bundle_version=manifest.bundle_version,
        precision=manifest.model.precision,
        recipe=recipe,
        profile=manifest.profile.id,
        reference_sha256=model.reference_sha256,
        drifted=drifted,
        pictures=tuple(dict.fromkeys(wanted_pictures(event) for event in drifted)),
    )


def wanted_pictures(event: DriftEvent) -> str:
    """In words, what training images are missing."""
    feature = FEATURES[event.feature]
    lower = event.size.typical < event.size.reference
    words = (feature.low if lower else feature.high) or feature.meaning
    return f"{words} ({event.feature}: {_change(event)})"


def describe_event(event: DriftEvent) -> str:
    """One line for people."""
    over = f", over since {event.until}" if event.until else ""
    return (
        f"{event.feature} drifted since {event.since}{over}: {_change(event)} "
        f"({FEATURES[event.feature].meaning})"
    )


def describe_drift(status: DriftStatus) -> str:
    """Everything that is known, for people."""
    lines = [describe_event(event) for event in status.events]
    lines.append(f"{status.windows} windows seen" + (", still learning" if status.learning else ""))
    if status.retrain:
        lines.append("Retrain: edgepose drift request, then edgepose distill --request")
    return "\n".join(lines)


def describe_request(request: RetrainingRequest) -> str:
    """What is asked for, for people."""
    lines = [f"{request.requested_at}: {request.model} of bundle version {request.bundle_version} drifted."]
    lines += [f"  {describe_event(event)}" for event in request.drifted]
    lines += ["Training pictures should show:", *(f"  {words}" for words in request.pictures)]
    return "\n".join(lines)


def _change(event: DriftEvent) -> str:
    shown = FEATURES[event.feature].shown
    return f"{shown(event.size.typical)} instead of {shown(event.size.reference)}"
