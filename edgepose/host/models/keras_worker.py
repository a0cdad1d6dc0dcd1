"""The process that loads a Keras file or SavedModel; run, not imported.

Arguments: describe MODEL ANSWER
           convert MODEL INPUTS.npy ANSWER OUT.tflite OUTPUTS.npz
           weights MODEL ANSWER WEIGHTS.npz

What it makes goes into open files: ANSWER, OUT.tflite and OUTPUTS.npz are descriptors. It runs locked in
(ADR 0036).

Nothing inside a model file is run. The file is copied into the process's own folder and judged whole here,
by the process that loads it, and only what passed is given to TensorFlow: no one can exchange the file in
between, and no library of TensorFlow is loaded for a file that is refused (ADR 0034).
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.errors import EdgeposeError
from edgepose.host.models.keras_intake import TakenModel, take_in
from edgepose.sandbox.loader_lock import seal_writing

# TensorFlow, once the file has been judged.
tf: Any = None
# Judging takes a second; HDF5's library may follow a harmed file in circles, and then the process ends.
JUDGING_LIMIT_S = 120


def main() -> None:
    """Writes an answer: what was asked for, or the reason why not."""
    command, model_path, *inputs = sys.argv[1:4] if sys.argv[1] == "convert" else sys.argv[1:3]
    answer_file, *outputs = map(int, sys.argv[3 + len(inputs) :])
    try:
        # The spec's sizes stand in for those that the model leaves open.
        sizes = np.load(inputs[0], mmap_mode="r").shape[1:] if command == "convert" else None
        signal.alarm(JUDGING_LIMIT_S)
        taken = take_in(Path(model_path), Path.cwd())
        signal.alarm(0)
        seal_writing()
        globals()["tf"] = importlib.import_module("tensorflow")
        answer: dict[str, Any] = {}
        if command == "weights":
            write_weights(load_keras(taken), outputs[0])
        else:
            function, answer = load(taken, sizes)
        if command == "convert":
            convert(function, outputs[0])
            run(function, Path(inputs[0]), outputs[1])
    except EdgeposeError as problem:
        answer = {"refused": problem.message, "hint": problem.hint}
    except Exception as problem:  # noqa: BLE001 - Keras and TensorFlow raise anything; all of it is an answer
        line = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        answer = {"error": line.rstrip(".")[:300]}
    with os.fdopen(answer_file, "w", encoding="utf-8") as stream:
        json.dump(answer, stream)


def load(taken: TakenModel, sizes: tuple[int, ...] | None) -> tuple[Any, dict[str, Any]]:
    """Loads a model as a concrete function with batch 1, and describes it.

    Args:
        taken: The judged model.
        sizes: Input sizes without the batch; None keeps those of the model, open ones included.
    """
    if taken.format == "saved_model":
        module = tf.saved_model.load(str(taken.path))
        if "serving_default" not in module.signatures:
            raise ValueError("the SavedModel has no signature 'serving_default'")
        signature = module.signatures["serving_default"]
        named = list(signature.structured_input_signature[1].items())
        if len(named) != 1:
            raise ValueError(f"the SavedModel has {len(named)} inputs, a pose model has one")
        name, spec = named[0]

        def call(values: Any) -> Any:
            return signature(**{name: values})

        ops = Counter(op.type for op in signature.graph.get_operations())
        function = concrete(call, fixed(spec.shape, sizes), spec.dtype, name)
        function.keep_alive = module
        return function, describe(function, dict(ops))
    model = load_keras(taken)
    tensor = model.inputs[0]
    if len(model.inputs) != 1:
        raise ValueError(f"the model has {len(model.inputs)} inputs, a pose model has one")
    names = [output.name.split("/")[0].split(":")[0] for output in model.outputs]
    if hasattr(model, "output_names") and len(model.output_names) == len(model.outputs):
        names = list(model.output_names)

    def call_keras(values: Any) -> Any:
        outputs = model(values, training=False)
        flat = tf.nest.flatten(outputs)
        return dict(zip(deduplicated(names), flat, strict=True))

    function = concrete(call_keras, fixed(tensor.shape, sizes), "float32", tensor.name.split(":")[0])
    function.keep_alive = model
    layers = Counter(type(layer).__name__ for layer in model.layers)
    return function, describe(function, dict(layers))


def load_keras(taken: TakenModel) -> Any:
    """Loads with Keras 3, or with Keras 2 for HDF5 files that only it can read; both get what passed."""
    import keras

    if taken.format == "keras":
        model = keras.saving.deserialize_keras_object(taken.config, safe_mode=True)
        model.load_weights(taken.path)
        return model
    try:
        return keras.models.load_model(taken.path, compile=False, safe_mode=True)
    except Exception:  # noqa: BLE001 - whatever Keras 3 raises, Keras 2 may still know the file
        import tf_keras

        return tf_keras.models.load_model(
            taken.path, compile=False, custom_objects=legacy_objects(tf_keras), safe_mode=True
        )


def legacy_objects(tf_keras: Any) -> dict[str, Any]:
    """Names that widespread Keras 2 files use without defining them."""
    return {
        "Swish": tf_keras.activations.swish,
        "swish": tf_keras.activations.swish,
        "swish1": tf_keras.activations.swish,
        "relu6": tf.nn.relu6,
        # Initializers only fill what the file's weights then replace.
        "BilinearWeights": lambda **_config: tf_keras.initializers.Zeros(),
    }


def deduplicated(names: list[str]) -> list[str]:
    """Makes names unique by a number."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique


def fixed(shape: Any, sizes: tuple[int, ...] | None) -> list[int | None]:
    """The input shape with batch 1 and, where sizes are given, nothing left open."""
    found = list(shape)[1:]
    if sizes is None:
        return [1, *found]
    if len(found) != len(sizes) or any(f not in {None, s} for f, s in zip(found, sizes, strict=True)):
        raise ValueError(f"the spec says input {sizes} after the batch, the model has {tuple(found)}")
    return [1, *sizes]


def concrete(call: Any, shape: list[int | None], dtype: Any, name: str) -> Any:
    """The concrete function for one input shape."""
    safe = "".join(c if c.isalnum() or c == "_" else "_" for c in name) or "input"
    return tf.function(call).get_concrete_function(tf.TensorSpec(shape, dtype, name=safe))


def describe(function: Any, ops: dict[str, int]) -> dict[str, Any]:
    """Names, shapes and types of inputs and outputs."""
    inputs = [tensor for tensor in function.inputs if tensor.dtype != tf.resource]
    outputs = function.structured_outputs

    def record(name: str, tensor: Any) -> dict[str, Any]:
        return {
            "name": name,
            "shape": [-1 if size is None else size for size in tensor.shape],
            "dtype": tensor.dtype.name,
        }

    return {
        "inputs": [record(tensor.name.split(":")[0], tensor) for tensor in inputs],
        "outputs": [record(name, tensor) for name, tensor in outputs.items()],
        "ops": ops,
    }


def convert(function: Any, output: int) -> None:
    """Writes float32 TFLite with a signature."""
    module = tf.Module()
    module.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    with os.fdopen(output, "wb") as stream:
        stream.write(converter.convert())


def write_weights(model: Any, output: int) -> None:
    """Writes all weights in their order."""
    with os.fdopen(output, "wb") as stream:
        np.savez(stream, *model.get_weights())


def run(function: Any, inputs: Path, output: int) -> None:
    """Runs the model on stored inputs (N, H, W, 3), for the comparison with the converted file."""
    collected: dict[str, list[Any]] = {}
    for values in np.load(inputs):
        for name, value in function(tf.constant(values[None])).items():
            collected.setdefault(name, []).append(value.numpy())
    stacked: dict[str, Any] = {name: np.stack(values) for name, values in collected.items()}
    with os.fdopen(output, "wb") as stream:
        np.savez(stream, **stacked)


if __name__ == "__main__":
    main()
