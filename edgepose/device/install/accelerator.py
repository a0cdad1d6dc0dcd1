"""Whether a bundle may run on a machine with the profile's accelerator; pure."""

from __future__ import annotations

from edgepose.errors import DeviceError
from edgepose.spec.bundle_manifest import BundleManifest


def check_accelerator(manifest: BundleManifest, *, on_device: bool) -> None:
    """Refuses a model that is not compiled for the device's Edge TPU, or leaves too much to the CPU.

    A prediction refuses nothing: only what the compiler said counts.

    Args:
        manifest: The bundle.
        on_device: Whether this machine is the profile's device; elsewhere the bundle is a preview on the CPU.

    Raises:
        DeviceError: The device cannot run the bundle.
    """
    runtime, record = manifest.profile.runtime, manifest.edgetpu
    if runtime.delegate != "edgetpu":
        return
    if on_device and (record is None or record.status != "compiled"):
        raise DeviceError(
            f"The model of bundle version {manifest.bundle_version} is not compiled for the Edge TPU; "
            f"profile '{manifest.profile.id}' needs it on the device.",
            "Build the bundle on a computer with edgetpu_compiler on PATH; this one serves a preview only.",
        )
    limit = runtime.max_ops_on_cpu
    if record is None or record.ops_on_cpu is None or limit is None or record.ops_on_cpu <= limit:
        return
    named = f": {'; '.join(record.refused)}" if record.refused else ""
    raise DeviceError(
        f"{record.ops_on_cpu} of {record.ops_total} ops would run on the CPU beside the Edge TPU, profile "
        f"'{manifest.profile.id}' allows {limit}{named}.",
        "Change the model so that the Edge TPU takes these ops, or allow more in runtime.max_ops_on_cpu.",
    )


def accelerator_note(manifest: BundleManifest) -> str | None:
    """What an installation has to say about the Edge TPU, or None where there is nothing to say."""
    runtime, record = manifest.profile.runtime, manifest.edgetpu
    if runtime.delegate != "edgetpu":
        return None
    if record is None:
        return "Edge TPU: not compiled"
    note = f"Edge TPU: {record.describe()}"
    limit = runtime.max_ops_on_cpu
    if record.status == "not compiled" and limit is not None and record.predicted_ops_on_cpu > limit:
        named = f": {'; '.join(record.refused)}" if record.refused else ""
        note += f". That is more than the {limit} that the profile allows{named}"
    return note
