"""Model files that try something are refused in one sentence; each trick works on whoever does not guard."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.errors import ModelError
from edgepose.host.sources.inspect import inspect_model
from edgepose.host.sources.keras_intake import take_in
from edgepose.inference.model_file import detect_format
from tests.support.hostile_models import TRICKS, Trick, keras_archive, keras_h5, with_layer

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
