"""Runs inside onnx2tf's own environment; a script, not a module to import.

Usage: onnx2tf_driver.py MODEL.onnx SAMPLE.npy fast|careful OUT

Its working folder is the only one that it may write into, so model and sample are copied there; OUT is the
descriptor of an open file.

onnx2tf's careful mode runs every op of both graphs to choose among axis orders, which takes most of its
time. For graphs without ambiguous axes both modes give the same ops, so the caller tries ``fast`` first
and compares. Going from the model in memory straight to TFLite saves the SavedModel, which no one needs,
and the float16 file.
"""

import os
import shutil
import sys
from pathlib import Path

import onnx
import onnx2tf
import tensorflow as tf


def main() -> None:
    """Converts to float32 TFLite with builtin ops only."""
    given, sample, mode, output = sys.argv[1:]
    source = shutil.copyfile(given, "model.onnx")
    shutil.copyfile(sample, Path(sample).name)
    model = onnx2tf.convert(
        input_onnx_file_path=source,
        output_folder_path="out",
        batch_size=1,
        keep_shape_absolutely_input_names=channels_last_inputs(source) or None,
        disable_strict_mode=mode == "fast",
        # The graph arrives folded and named.
        not_use_onnxsim=True,
        not_use_opname_auto_generate=True,
        disable_model_save=True,
        verbosity="error",
    )
    inputs = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs]
    function = tf.function(lambda *values: model(values, training=False)).get_concrete_function(*inputs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    with os.fdopen(int(output), "wb") as stream:
        stream.write(converter.convert())


def channels_last_inputs(source: str) -> list[str]:
    """Inputs that have their channels last already, which onnx2tf would move all the same."""
    stored = onnx.load(source)
    shapes = {value.name: value.type.tensor_type.shape.dim for value in stored.graph.input}
    return [
        name
        for name, dims in shapes.items()
        if len(dims) == 4 and dims[3].dim_value == 3 and dims[1].dim_value != 3
    ]


main()
