"""A Keras teacher is converted before it is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import ModelError
from edgepose.pose.skeletons import COCO17


@pytest.mark.slow
def test_a_keras_teacher_is_converted_once_and_answers_as_its_onnx_twin(
    marker_keras: Path, marker_keras_spec: Path, marker_onnx: Path, marker_spec: Path, tmp_path: Path
) -> None:
    from edgepose.host.distill.teacher import open_teacher, runnable_teacher
    from tests.support.marker_scene import marker_scene

    said: list[str] = []
    path, spec = runnable_teacher(marker_keras, marker_keras_spec, tmp_path, said.append)
    assert (path.name, spec) == ("teacher.tflite", None)
    assert "converting the teacher" in said[0]
    first = path.stat().st_mtime_ns
    runnable_teacher(marker_keras, marker_keras_spec, tmp_path, said.append)
    assert path.stat().st_mtime_ns == first
    scene = marker_scene(3, (320, 240))
    box = scene.boxes_xyxy_px[0].astype(np.float64)
    views = [
        open_teacher(path, COCO17, spec).look(scene.image, box),
        open_teacher(marker_onnx, COCO17, marker_spec).look(scene.image, box),
    ]
    assert np.abs(views[0].maps - views[1].maps).max() < 1e-3
    assert views[0].maps.max() > 0.3
    path.write_bytes(b"left by something else")
    runnable_teacher(marker_keras, marker_keras_spec, tmp_path, said.append)
    assert open_teacher(path, COCO17, None).file_name == "teacher.tflite"


def test_a_damaged_keras_teacher_is_refused(marker_keras_spec: Path, tmp_path: Path) -> None:
    from edgepose.host.distill.teacher import runnable_teacher

    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"PK\x03\x04" + bytes(200))
    with pytest.raises(ModelError):
        runnable_teacher(broken, marker_keras_spec, tmp_path, print)
    assert not (tmp_path / "teacher.tflite").exists()


def test_a_teacher_that_runs_as_it_is_is_left_alone(
    marker_onnx: Path, marker_spec: Path, tmp_path: Path
) -> None:
    from edgepose.host.distill.teacher import runnable_teacher

    assert runnable_teacher(marker_onnx, marker_spec, tmp_path, print) == (marker_onnx, marker_spec)
    assert list(tmp_path.iterdir()) == []
