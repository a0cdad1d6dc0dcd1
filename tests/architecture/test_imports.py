"""The walls between the layers: contracts, the import budget, and a device without frameworks."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PACKAGE = PROJECT / "edgepose"
FRAMEWORKS = ("tensorflow", "torch", "onnx", "keras", "tf_keras", "ai_edge_quantizer")
DEVICE_SIDE = ("pose", "records", "trust", "runtime", "device")


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=False
    )


def modules_below(folder: str) -> list[str]:
    paths = sorted((PACKAGE / folder).rglob("*.py"))
    names = [".".join(path.relative_to(PROJECT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def run_linter(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    return subprocess.run(
        [*command, "--config", config, "--no-cache"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )


def test_imports_only_run_downward() -> None:
    result = run_linter(PROJECT / "pyproject.toml")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    assert "8 kept, 0 broken" in result.stdout


def test_the_import_check_notices_a_broken_layer(tmp_path: Path) -> None:
    """Upside down the layers must fail."""
    config = tmp_path / "contracts.ini"
    config.write_text(
        "[importlinter]\nroot_package = edgepose\n"
        "[importlinter:contract:1]\nname = upside down\ntype = layers\nlayers =\n"
        "    edgepose.errors\n    edgepose.cli\n"
    )
    result = run_linter(config)
    assert result.returncode == 1
    assert "upside down BROKEN" in result.stdout


HELP = """
import contextlib, io, sys
from edgepose.cli.main import main
sys.argv = ["edgepose", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    main()
assert "deploy" in shown.getvalue()
heavy = {heavy} & {{name.partition(".")[0] for name in sys.modules}}
print(sorted(heavy))
"""


def test_help_imports_nothing_heavy() -> None:
    heavy = {"numpy", "cv2", "onnxruntime", "ai_edge_litert", "msgspec", *FRAMEWORKS}
    result = python(HELP.format(heavy=heavy))
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_the_check_of_help_notices_what_help_does_import() -> None:
    assert python(HELP.format(heavy={"click"})).stdout.strip() == "['click']"


BLOCKER = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"blocked: {{name}}")

sys.meta_path.insert(0, Blocker())
for name in {modules}:
    importlib.import_module(name)
print("imported", len({modules}))
"""


@pytest.mark.parametrize("layer", DEVICE_SIDE)
def test_the_device_side_imports_without_any_framework(layer: str) -> None:
    modules = modules_below(layer)
    result = python(BLOCKER.format(blocked=FRAMEWORKS, modules=modules))
    assert result.stdout.strip() == f"imported {len(modules)}", result.stderr[-2000:]


def test_the_core_imports_without_any_runtime() -> None:
    """A runtime is only imported when a model is opened on it."""
    runtimes = ("onnxruntime", "ai_edge_litert", "tflite_runtime")
    modules = [name for layer in ("pose", "records", "trust", "runtime") for name in modules_below(layer)]
    result = python(BLOCKER.format(blocked=(*FRAMEWORKS, *runtimes), modules=modules))
    assert result.stdout.strip() == f"imported {len(modules)}", result.stderr[-2000:]


def test_pose_maths_imports_with_numpy_alone() -> None:
    blocked = (*FRAMEWORKS, "cv2", "msgspec", "click", "flatbuffers")
    result = python(BLOCKER.format(blocked=blocked, modules=modules_below("pose")))
    assert result.returncode == 0, result.stderr[-2000:]


def test_the_blocker_notices_a_framework() -> None:
    result = python(BLOCKER.format(blocked=("numpy",), modules=["edgepose.pose.boxes"]))
    assert result.returncode == 1
    assert "blocked: numpy" in result.stderr


def source_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_what_it_is_and_stays_readable(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "no docstring"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, "more than one concept"
    banned = {"utils", "helpers", "common", "misc", "manager"}
    assert path.stem not in banned


PUBLIC = (ast.FunctionDef, ast.ClassDef)


@pytest.mark.parametrize("layer", ["pose", "records", "trust", "runtime"])
def test_every_public_name_of_the_core_is_documented(layer: str) -> None:
    missing = [
        f"{path.name}: {node.name}"
        for path in sorted((PACKAGE / layer).rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, PUBLIC) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert missing == []
