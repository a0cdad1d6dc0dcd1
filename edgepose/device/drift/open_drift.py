"""Looks for drift where an installed model runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from edgepose.device.drift.drift_choice import DriftChoice
from edgepose.device.drift.drift_sink import DriftListeners, DriftSink, Note
from edgepose.device.drift.retraining import RunningModel
from edgepose.device.install.installed import installed_model
from edgepose.device.output.fed_process import FedProcess
from edgepose.errors import TrustError
from edgepose.spec.drift_record import DriftEvent, DriftReference
from edgepose.spec.records import from_json, to_json
from edgepose.trust.digests import sha256_of_bytes

_HOOK = "edgepose.device.drift.hook_process"


def open_drift(
    choice: DriftChoice, notes: Sequence[Note], say: Callable[[str], None], opened: ExitStack
) -> DriftSink:
    """Opens it for the active version; its files were verified by whoever runs it.

    Args:
        choice: What is watched.
        notes: Who is told what drifts, and by how much.
        say: Takes a line for people.
        opened: Ends the hook's process.

    Raises:
        ConfigError: Nothing is installed there.
        TrustError: The state or a file is damaged.
        DeviceError: The hook's process does not start.
    """
    installed = installed_model(choice.root)
    manifest, reference, sha256 = installed.manifest, None, None
    if manifest.drift_reference is not None:
        content = (installed.folder / manifest.drift_reference).read_bytes()
        sha256 = sha256_of_bytes(content)
        reference = from_json(content, DriftReference, manifest.drift_reference, TrustError)
    listeners = DriftListeners(notes, _hook(choice, opened), say)
    return DriftSink(choice.root, RunningModel(manifest, sha256), reference, listeners, choice.options)


def _hook(choice: DriftChoice, opened: ExitStack) -> Callable[[DriftEvent], None]:
    if choice.hook is None:
        return lambda _event: None
    process = FedProcess(_HOOK, [choice.hook, str(choice.root.absolute())])
    opened.callback(process.close)

    def tell(event: DriftEvent) -> None:
        process.send(to_json(event).encode() + b"\n")

    return tell
