"""Runs inside onnx2tf's own environment; a script, not a module to import.

Usage: onnx2tf_driver.py MODEL.onnx OUT_FOLDER
"""

import sys

import onnx2tf

onnx2tf.convert(
    input_onnx_file_path=sys.argv[1],
    output_folder_path=sys.argv[2],
    batch_size=1,
    copy_onnx_input_output_names_to_tflite=True,
    # The graph arrives folded; simplifying it again takes a third of the time.
    not_use_onnxsim=True,
    non_verbose=True,
)
