"""Model files that try something are refused in one sentence; each trick works on whoever does not guard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.errors import ModelError
from edgepose.host.models.inspect import inspect_model
from edgepose.host.models.keras_intake import take_in
from edgepose.runtime.model_file import detect_format
from tests.support.hostile_frameworks import WRITERS
from tests.support.hostile_models import TRICKS, Trick, keras_archive, keras_h5, with_layer

PROJECT = Path(__file__).resolve().parents[2]
_IN_PROCESS = frozenset({"onnx", "tflite"})


def refuse(path: Path, folder: Path) -> ModelError:
    """The refusal of a file, before any framework is loaded."""
    folder.mkdir()
    with pytest.raises(ModelError) as caught:
        _read(path, folder)
    return caught.value


def _read(path: Path, folder: Path) -> None:
    if detect_format(path) in _IN_PROCESS:
        inspect_model(path)
    else:
        take_in(path, folder)


@pytest.mark.parametrize("trick", TRICKS, ids=[trick.name for trick in TRICKS])
def test_a_file_that_tries_something_is_refused_in_one_sentence(trick: Trick, tmp_path: Path) -> None:
    path, works_unguarded = trick.make(tmp_path)
    assert works_unguarded, "the control: without the guard the trick works, or the file is well-formed"
    refusal = refuse(path, tmp_path / "worker")
    assert refusal.exit_code == 5
    assert "\n" not in str(refusal)
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_the_same_makers_write_files_that_pass(tmp_path: Path) -> None:
    plain = with_layer({"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}})
    take_in(keras_archive(tmp_path / "m.keras", plain), _made(tmp_path / "a"))
    take_in(keras_h5(tmp_path / "m.h5", lambda _file: None, plain), _made(tmp_path / "b"))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def framework_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that the frameworks wrote, and what each did to them unguarded."""
    folder = tmp_path_factory.mktemp("hostile")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    call = [sys.executable, "-m", "tests.support.hostile_frameworks", str(folder)]
    subprocess.run(call, cwd=PROJECT, env=environment, check=True, capture_output=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WRITERS if name != "plain"])
def test_a_model_that_tries_something_on_its_framework_is_refused(
    name: str, framework_models: Path, tmp_path: Path
) -> None:
    evidence = json.loads((framework_models / "evidence.json").read_text(encoding="utf-8"))
    assert evidence[name] == "made", "the control: the framework alone does what the file says"
    before = sorted(framework_models.rglob("*"))
    refusal = refuse(framework_models / name, tmp_path / "worker")
    assert refusal.exit_code == 5
    assert "\n" not in str(refusal)
    assert sorted(framework_models.rglob("*")) == before


@pytest.mark.slow
def test_a_plain_saved_model_of_the_same_maker_passes(framework_models: Path, tmp_path: Path) -> None:
    taken = take_in(framework_models / "plain", tmp_path)
    assert (taken.path / "variables" / "variables.index").is_file()


@pytest.mark.slow
def test_inspect_refuses_before_tensorflow_is_loaded(framework_models: Path) -> None:
    call = [
        sys.executable,
        "-m",
        "edgepose",
        "models",
        "inspect",
        str(framework_models / "writes_while_loading.h5"),
    ]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert "TFOpLambda" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (framework_models / "writes_while_loading.h5.made").exists()
