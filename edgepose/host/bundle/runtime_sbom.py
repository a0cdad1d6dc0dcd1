"""Bills of materials of a device's runtime: CycloneDX 1.6 (ECMA-424), functions of the lock alone.

A bundle's bill lists the wheels for every Python that its profile allows; the bill that a deployment writes
beside edgepose's code on the device lists the very wheels that lie there.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any
from urllib.parse import quote

from edgepose import __version__
from edgepose.host.deploy.device_lock import DeviceLock, LockedWheel
from edgepose.spec.bundle_manifest import SBOM_NAME
from edgepose.spec.device_profile import DeviceProfile
from edgepose.trust.digests import sha256_of_bytes

Part = dict[str, Any]
SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_LICENCE = "Apache-2.0"
# The earliest time that a zip file can hold (APPNOTE.TXT 4.4.6).
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def runtime_part(lock: DeviceLock, profile: DeviceProfile) -> Part:
    """One component of a bundle's bill: a Python's wheels, nested.

    Args:
        lock: The wheels.
        profile: The device, whose board may bring a runtime of its own.
    """
    ref = f"runtime:{lock.name}"
    properties = [{"name": "edgepose:runtime:digest", "value": lock.digest}]
    if lock.version_of(profile.runtime.name) is None and profile.runtime.name == "onnxruntime":
        brought = f"onnxruntime with {profile.runtime.delegate}, of the board's maker"
        properties.append({"name": "edgepose:runtime:of the board", "value": brought})
    return {
        "type": "framework",
        "bom-ref": ref,
        "name": f"what a device with {lock.arch} and Python {lock.python} gets",
        "properties": properties,
        "components": [_wheel_part(wheel, f"{ref}:{wheel.name}") for wheel in lock.wheels],
    }


def with_bill(code: bytes, lock: DeviceLock) -> bytes:
    """The device side with the bill of what runs beside it, as the file ``sbom.cdx.json``.

    Args:
        code: The archive, see ``device_code``.
        lock: The wheels that the device gets with it.
    """
    buffer = io.BytesIO(code)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        entry = zipfile.ZipInfo(SBOM_NAME, _NO_TIME)
        entry.external_attr = 0o644 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, runtime_sbom(lock, sha256_of_bytes(code)))
    return buffer.getvalue()


def runtime_sbom(lock: DeviceLock, code_sha256: str) -> bytes:
    """The bill of a device's runtime and of the code beside it.

    Args:
        lock: The wheels.
        code_sha256: Digest of the archive with edgepose's device side, without this bill.
    """
    code = {
        "type": "application",
        "bom-ref": "edgepose",
        "name": "edgepose",
        "version": __version__,
        "hashes": _sha256(code_sha256),
        "licenses": [{"expression": _LICENCE}],
    }
    wheels = [_wheel_part(wheel, f"package:{wheel.name}") for wheel in lock.wheels]
    document = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "edgepose", "version": __version__}]},
            "component": {
                "type": "firmware",
                "bom-ref": "runtime",
                "name": f"edgepose's runtime for {lock.arch}, Python {lock.python}",
                "version": lock.digest,
            },
        },
        "components": [code, *wheels],
        "dependencies": [
            {"ref": "runtime", "dependsOn": sorted(["edgepose", *(part["bom-ref"] for part in wheels)])}
        ],
    }
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _wheel_part(wheel: LockedWheel, ref: str) -> Part:
    part: Part = {
        "type": "library",
        "bom-ref": ref,
        "name": wheel.name,
        "version": wheel.version,
        "hashes": _sha256(wheel.sha256),
        "purl": f"pkg:pypi/{wheel.name}@{wheel.version}?file_name={quote(wheel.file)}",
    }
    if wheel.licence is not None:
        # An expression is the project's own; its free words stand in quotation marks.
        words = wheel.licence.strip('"')
        part["licenses"] = [{"expression": words} if words == wheel.licence else {"license": {"name": words}}]
    return part


def _sha256(digest: str) -> list[Part]:
    return [{"alg": "SHA-256", "content": digest}]
