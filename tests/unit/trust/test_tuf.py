"""What the verifier takes of python-tuf's private part is there, in every version that is allowed.

Only ``tuf.ngclient`` has the client's rules, and its public ``Updater`` wants files of its own and a network.
So ``pyproject.toml`` allows versions in which this was looked at, and this test fails first where one
differs.
"""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet

ROOT = Path(__file__).parents[3]
USED = {
    "__init__": ["self", "root_data", "envelope_type"],
    "update_root": ["self", "data"],
    "update_timestamp": ["self", "data"],
    "update_snapshot": ["self", "data", "trusted"],
    "update_targets": ["self", "data"],
}


def test_the_bound_is_a_minor_version_and_the_installed_one_is_within() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (line,) = re.findall(r'^    "(tuf[<>=,.0-9]+)",$', text, re.MULTILINE)
    allowed = Requirement(line).specifier
    installed = Version(version("tuf"))
    assert installed in allowed
    assert Version(f"{installed.major}.{installed.minor + 1}") not in allowed


def test_the_private_class_has_what_the_verifier_uses() -> None:
    found = {name: list(inspect.signature(getattr(TrustedMetadataSet, name)).parameters) for name in USED}
    assert found == USED
    properties = ("root", "timestamp", "snapshot", "targets")
    assert all(isinstance(getattr(TrustedMetadataSet, name), property) for name in properties)
    # The clock by which expiry is judged is set from outside.
    assert "self.reference_time" in inspect.getsource(TrustedMetadataSet.__init__)


def test_no_other_module_reaches_into_a_private_one_of_a_dependency() -> None:
    private = re.compile(r"^\s*(?:from|import) (?!edgepose)[a-z_0-9.]+\._[a-z]", re.MULTILINE)
    found = [path for path in (ROOT / "edgepose").rglob("*.py") if private.search(path.read_text("utf-8"))]
    assert [path.name for path in found] == ["metadata_verifier.py"]
