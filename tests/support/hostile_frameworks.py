"""Writes Keras files and SavedModels that try something, and tries each on the unguarded framework; a script.

Usage: python -m tests.support.hostile_frameworks FOLDER

Leaves the models in FOLDER, and ``evidence.json``: what the framework did with each, unguarded.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Control = Callable[[Path], object]
# Name to writer; a writer makes the model and returns its control.
WRITERS: dict[str, Callable[[Path], Control]] = {}


def hostile(name: str) -> Callable[[Callable[[Path], Control]], Callable[[Path], Control]]:
    """Names a writer by the file that it makes."""

    def add(writer: Callable[[Path], Control]) -> Callable[[Path], Control]:
        WRITERS[name] = writer
        return writer

    return add


def main() -> None:
    """Writes all models first, so that what their making writes is gone before the controls run."""
    folder = Path(sys.argv[1])
    controls = {name: writer(folder / name) for name, writer in WRITERS.items()}
    for leftover in folder.glob("*.made"):
        leftover.unlink()
    evidence: dict[str, str] = {}
    for name, control in controls.items():
        try:
            found = control(folder / name)
        except Exception as problem:  # noqa: BLE001 - a control that fails is what its test must show
            found = f"failed: {type(problem).__name__}: {problem}"[:300]
        evidence[name] = str(found)
        for leftover in folder.glob("*.made*"):
            leftover.unlink()
    (folder / "evidence.json").write_text(json.dumps(evidence, indent=1), encoding="utf-8")


def _made(model: Path) -> Path:
    """The file by which a trick shows itself."""
    return model.with_name(f"{model.name}.made")


def _shown(model: Path) -> str:
    return "made" if _made(model).exists() else "nothing"


# Keras 2 in HDF5 -------------------------------------------------------------------------------------------


def _h5_with(path: Path, layer: dict[str, Any]) -> None:
    import h5py
    import tf_keras

    image = tf_keras.Input((8, 8, 3), name="image")
    tf_keras.Model(image, tf_keras.layers.Conv2D(4, 3, name="c")(image)).save(path)
    with h5py.File(path, "r+") as stored:
        config = json.loads(stored.attrs["model_config"])
        config["config"]["layers"].append(layer)
        stored.attrs["model_config"] = json.dumps(config)


def _load_h5(path: Path) -> str:
    import tf_keras

    try:
        tf_keras.models.load_model(path, compile=False)
    except Exception:  # noqa: BLE001 - the damage is done before the error
        return _shown(path)
    return _shown(path)


def _tf_op(function: str, node: list[Any]) -> dict[str, Any]:
    config = {"name": "op", "trainable": True, "dtype": "float32", "function": function}
    return {"class_name": "TFOpLambda", "name": "op", "config": config, "inbound_nodes": [node]}


@hostile("writes_while_loading.h5")
def _write_file(path: Path) -> Control:
    node = ["_CONSTANT_VALUE", -1, str(_made(path)), {"contents": "owned"}]
    _h5_with(path, _tf_op("io.write_file", node))
    return _load_h5


@hostile("copies_while_loading.h5")
def _copy_file(path: Path) -> Control:
    secret = path.with_name("secret.txt")
    secret.write_text("private", encoding="utf-8")
    node = ["_CONSTANT_VALUE", -1, str(secret), {"dst": str(_made(path)), "overwrite": True}]
    _h5_with(path, _tf_op("io.gfile.copy", node))
    return _load_h5


@hostile("bytecode.h5")
def _lambda_h5(path: Path) -> Control:
    import tf_keras

    image = tf_keras.Input((8, 8, 3))
    made = str(_made(path))
    code = tf_keras.layers.Lambda(eval(f"lambda t: (open({made!r}, 'w').close(), t)[1]"))  # noqa: S307
    tf_keras.Model(image, code(image)).save(path)
    return _load_h5


# Keras 3 ---------------------------------------------------------------------------------------------------


def _load_keras(path: Path) -> str:
    import keras

    keras.models.load_model(path, compile=False, safe_mode=False)
    return _shown(path)


@hostile("bytecode.keras")
def _lambda_keras(path: Path) -> Control:
    import keras

    image = keras.Input((8, 8, 3))
    made = str(_made(path))
    code = keras.layers.Lambda(eval(f"lambda t: (open({made!r}, 'w').close(), t)[1]"))  # noqa: S307
    keras.Model(image, code(image)).save(path)
    return _load_keras


@hostile("bytecode_in_a_wrapper.keras")
def _wrapped_keras(path: Path) -> Control:
    import keras

    image = keras.Input((2, 8, 8, 3))
    made = str(_made(path))
    code = keras.layers.Lambda(eval(f"lambda t: (open({made!r}, 'w').close(), t)[1]"))  # noqa: S307
    inner = keras.Sequential([keras.Input((8, 8, 3)), code])
    keras.Model(image, keras.layers.TimeDistributed(inner)(image)).save(path)
    return _load_keras


@hostile("reads_a_vocabulary.keras")
def _vocabulary(path: Path) -> Control:
    from tests.support.hostile_models import keras_archive

    secret = path.with_name("words.txt")
    secret.write_text("private\nwords\n", encoding="utf-8")
    layer = {
        "module": "keras.layers",
        "class_name": "StringLookup",
        "config": {"name": "s", "vocabulary": str(secret), "dtype": "string"},
        "registered_name": None,
    }
    keras_archive(path, {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}})

    def control(_path: Path) -> str:
        import keras

        read = keras.saving.deserialize_keras_object(layer, safe_mode=False)
        return "made" if "private" in read.get_vocabulary() else "nothing"

    return control


# SavedModels -----------------------------------------------------------------------------------------------


def _module(serve: Callable[[Any, Path], Any], path: Path, *, runs: bool = True) -> Control:
    """Saves a module whose signature does something, and returns the control that serves it."""
    import tensorflow as tf

    class Module(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), name="image")])  # type: ignore[untyped-decorator]
        def run(self, image: Any) -> Any:
            done = serve(tf, _made(path))
            with tf.control_dependencies([done]):
                return {"out": tf.reduce_mean(image, -1)}

    module = Module()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.run})

    def control(model: Path) -> str:
        loaded = tf.saved_model.load(str(model))
        if runs:
            loaded.signatures["serving_default"](image=tf.zeros((1, 8, 8, 3)))
        return _shown(model)

    return control


@hostile("prints_to_a_file")
def _print(path: Path) -> Control:
    return _module(lambda tf, made: tf.raw_ops.PrintV2(input="owned", output_stream=f"file://{made}"), path)


@hostile("writes_a_file")
def _write(path: Path) -> Control:
    return _module(lambda tf, made: tf.io.write_file(str(made), "owned"), path)


@hostile("saves_a_checkpoint_elsewhere")
def _save(path: Path) -> Control:
    def serve(tf: Any, made: Path) -> Any:
        return tf.raw_ops.SaveV2(
            prefix=str(made), tensor_names=["x"], shape_and_slices=[""], tensors=[tf.zeros(3)]
        )

    served = _module(serve, path)

    def control(model: Path) -> str:
        served(model)
        return "made" if list(model.parent.glob(f"{model.name}.made*")) else "nothing"

    return control


@hostile("prints_in_a_branch")
def _branch(path: Path) -> Control:
    def serve(tf: Any, made: Path) -> Any:
        def printed() -> Any:
            done = tf.raw_ops.PrintV2(input="owned", output_stream=f"file://{made}")
            with tf.control_dependencies([done]):
                return tf.constant(1)

        return tf.cond(tf.random.uniform(()) < 2, printed, lambda: tf.constant(0))

    return _module(serve, path)


def _reads(serve: Callable[[Any, str], Any], path: Path) -> Control:
    import tensorflow as tf

    secret = path.with_name(f"{path.name}.txt")
    secret.write_text("private", encoding="utf-8")

    class Module(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), name="image")])  # type: ignore[untyped-decorator]
        def run(self, image: Any) -> Any:
            return {"out": tf.reduce_mean(image, -1), "read": serve(tf, str(secret))}

    module = Module()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.run})

    def control(model: Path) -> str:
        loaded = tf.saved_model.load(str(model))
        read = loaded.signatures["serving_default"](image=tf.zeros((1, 8, 8, 3)))["read"].numpy()
        return "made" if read not in {b"", 0} else "nothing"

    return control


@hostile("reads_a_file")
def _read(path: Path) -> Control:
    return _reads(lambda tf, secret: tf.io.read_file(secret), path)


@hostile("lists_files")
def _match(path: Path) -> Control:
    return _reads(lambda tf, secret: tf.size(tf.io.matching_files(secret)), path)


@hostile("reads_lines")
def _lines(path: Path) -> Control:
    def serve(tf: Any, secret: str) -> Any:
        lines = tf.data.TextLineDataset([secret])
        return lines.reduce(
            tf.constant(0, tf.int64), lambda n, line: n + tf.cast(tf.strings.length(line), tf.int64)
        )

    return _reads(serve, path)


@hostile("runs_python")
def _python(path: Path) -> Control:
    def serve(tf: Any, made: Path) -> Any:
        return tf.py_function(lambda: made.touch() or 0, [], tf.int32)  # type: ignore[func-returns-value]

    return _module(serve, path)


@hostile("prints_while_loading")
def _initializer(path: Path) -> Control:
    import tensorflow as tf

    made = f"file://{_made(path)}"

    class Resource(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]
        def _create_resource(self) -> Any:
            return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

        def _initialize(self) -> None:
            tf.raw_ops.PrintV2(input="owned", output_stream=made)

        def _destroy_resource(self) -> None:
            """Nothing to do."""

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.resource = Resource()

        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), name="image")])  # type: ignore[untyped-decorator]
        def run(self, image: Any) -> Any:
            size = tf.raw_ops.LookupTableSizeV2(table_handle=self.resource.resource_handle)
            return {"out": tf.reduce_mean(image, -1) + tf.cast(size, tf.float32)}

    module = Module()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.run})

    def control(model: Path) -> str:
        tf.saved_model.load(str(model))
        return _shown(model)

    return control


def _plain(path: Path) -> None:
    import tensorflow as tf

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable(tf.ones((3,)))

        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), name="image")])  # type: ignore[untyped-decorator]
        def run(self, image: Any) -> Any:
            return {"out": tf.reduce_mean(image * self.weight, -1)}

    module = Module()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.run})


def _loads(model: Path) -> str:
    import tensorflow as tf

    return "made" if tf.saved_model.load(str(model)).signatures else "nothing"


@hostile("links_its_weights")
def _linked(path: Path) -> Control:
    _plain(path)
    elsewhere = path.with_name(f"{path.name}.elsewhere")
    shutil.move(path / "variables", elsewhere)
    (path / "variables").mkdir()
    for file in elsewhere.iterdir():
        (path / "variables" / file.name).symlink_to(file)
    return _loads


@hostile("brings_a_library")
def _extra(path: Path) -> Control:
    _plain(path)
    (path / "custom_op.so").write_bytes(b"\x7fELF")
    return _loads


@hostile("has_no_objects")
def _version_1(path: Path) -> Control:
    from edgepose.runtime.wire_formats import protobuf_field, protobuf_fields

    _plain(path)
    graph = path / "saved_model.pb"
    (meta,) = [value for number, value in protobuf_fields(graph.read_bytes()) if number == 2]
    assert isinstance(meta, bytes)
    kept = b"".join(
        protobuf_field(number, value)
        for number, value in protobuf_fields(meta)
        if number != 7 and isinstance(value, bytes)
    )
    graph.write_bytes(b"\x08\x01" + protobuf_field(2, kept))
    return _loads


WRITERS["plain"] = lambda path: (_plain(path), _loads)[1]


if __name__ == "__main__":
    main()
