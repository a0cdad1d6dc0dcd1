"""The notebook runs from its first cell to its last, as a reader's would."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from edgepose.sandbox.python_child import run_words
from tests.conftest import PROJECT

NOTEBOOK = PROJECT / "examples" / "first_steps.ipynb"


@pytest.fixture(scope="module", name="cells")
def _cells() -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_no_output_is_committed(cells: list[dict[str, Any]]) -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_it_uses_public_names_alone(cells: list[dict[str, Any]]) -> None:
    code = "".join("".join(cell["source"]) for cell in cells)
    assert "import edgepose\n" in code
    assert "from edgepose" not in code


@pytest.mark.slow
def test_every_cell_runs(cells: list[dict[str, Any]]) -> None:
    code = "\n\n".join("".join(cell["source"]) for cell in cells)
    done = run_words([sys.executable, "-c", code], cwd=NOTEBOOK.parent)
    assert done.returncode == 0, done.stderr
    assert "gate passed: True" in done.stdout
    assert "float16" in done.stdout
