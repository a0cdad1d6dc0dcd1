"""Keras and SavedModel sources: written by the frameworks themselves, converted in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.errors import ConfigError, ModelError
from edgepose.host.convert.conversion import ConversionRequest, convert_model
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.inspect import inspect_model
from edgepose.host.models.tflite_view import first_signature, read_tflite

pytestmark = pytest.mark.slow

SPEC = """
name = "tiny"
version = "1"
skeleton = "coco17"
paradigm = "top_down"
licence = "Apache-2.0"
source = "tests"
min_pose_score = 0.0
[input]
width_px = {width}
height_px = {height}
layout = "NHWC"
color_order = "RGB"
resize = "crop"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
[codec]
kind = "heatmap"
"""

# Runs apart from the tests: TensorFlow is large, loud, and Keras 2 and 3 do not share a process well.
WRITER = """
import sys
import keras, tensorflow as tf, tf_keras

def network(k, size):
    image = k.Input((*size, 3), name="image")
    features = k.layers.Conv2D(8, 3, 2, "same", activation="relu")(image)
    return image, k.layers.Conv2D(17, 1, name="heatmaps")(features)

image, maps = network(keras, (32, 24))
model = keras.Model(image, maps)
model.save("model.keras")
model.save("model.h5")
model.export("saved_model", verbose=False)
keras.Model(*network(keras, (None, None))).save("open.keras")
keras.Model(image, keras.layers.Lambda(lambda t: t * 2)(maps)).save("lambda.keras")
old_image, old_maps = network(tf_keras, (32, 24))
tf_keras.Model(old_image, old_maps).save("old.h5")
tf_keras.Model(old_image, tf_keras.layers.Lambda(lambda t: t * 2)(old_maps)).save("lambda.h5")

class Python(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 32, 24, 3))])
    def run(self, image):
        return {"heatmaps": tf.py_function(lambda t: t, [image], tf.float32)}

python = Python()
tf.saved_model.save(python, "python", signatures={"serving_default": python.run})
tf.saved_model.save(tf.Module(), "no_signature")
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models and the spec that fits all of them."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "spec.toml").write_text(SPEC.format(width=24, height=32))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(
        [sys.executable, "-c", WRITER], cwd=folder, env=environment, check=True, capture_output=True
    )
    return folder


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved_model", "old.h5"])
def test_it_becomes_tflite_with_the_same_numbers(sources: Path, tmp_path: Path, name: str) -> None:
    source = open_artifact(sources / name, sources / "spec.toml")
    result = convert_model(ConversionRequest(source, "tflite", tmp_path / "out.tflite"))
    (parity,) = result.record.parity
    assert parity.shape == (1, 16, 12, 17)
    assert parity.max_abs_error < 1e-4
    assert parity.value_range > 0.1
    assert [tensor.shape for tensor in result.record.model.inputs] == [(1, 32, 24, 3)]
    assert result.artifact.lineage is not None
    assert result.artifact.lineage.parents[0].sha256 == source.sha256
    assert first_signature(read_tflite(result.artifact.path.read_bytes()))


def test_sizes_that_the_model_leaves_open_come_from_the_spec(sources: Path, tmp_path: Path) -> None:
    report = inspect_model(sources / "open.keras")
    assert report.inputs[0].shape == (1, -1, -1, 3)
    (tmp_path / "spec.toml").write_text(SPEC.format(width=32, height=48))
    source = open_artifact(sources / "open.keras", tmp_path / "spec.toml")
    result = convert_model(ConversionRequest(source, "tflite", tmp_path / "out.tflite"))
    assert result.record.model.inputs[0].shape == (1, 48, 32, 3)


def test_a_spec_of_another_size_is_refused(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC.format(width=32, height=48))
    source = open_artifact(sources / "model.keras", tmp_path / "spec.toml")
    with pytest.raises(ModelError, match=r"\(48, 32, 3\)"):
        convert_model(ConversionRequest(source, "tflite", tmp_path / "out.tflite"))


def test_a_relative_output_is_written_where_the_user_is(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_artifact(sources / "model.keras", sources / "spec.toml")
    convert_model(ConversionRequest(source, "tflite", Path("out.tflite")))
    assert [path.name for path in tmp_path.iterdir()] == ["out.tflite"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lambda.keras", "never runs"),
        ("lambda.h5", "never runs"),
        ("python", "EagerPyFunc"),
        ("no_signature", "no signature"),
    ],
)
def test_what_carries_code_or_no_interface_is_refused(sources: Path, name: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        inspect_model(sources / name)
    assert caught.value.exit_code == 5


def test_keras_to_onnx_is_refused_with_what_is_possible(sources: Path, tmp_path: Path) -> None:
    source = open_artifact(sources / "model.keras", sources / "spec.toml")
    with pytest.raises(ConfigError, match="There is no way from keras to onnx"):
        convert_model(ConversionRequest(source, "onnx", tmp_path / "out.onnx"))
