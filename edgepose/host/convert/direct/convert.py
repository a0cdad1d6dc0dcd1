"""The direct route, from an ONNX file to a .tflite file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgepose.host.convert.direct import import_conv, import_elementwise, import_shape, rewrites
from edgepose.host.convert.direct.channel_orders import find_channel_selects
from edgepose.host.convert.direct.graph_ir import Graph
from edgepose.host.convert.direct.graph_pass import GraphPass, run_passes
from edgepose.host.convert.direct.layout import sink_transposes
from edgepose.host.convert.direct.onnx_import import (
    NCHW_FROM_NHWC,
    NHWC_FROM_NCHW,
    Handler,
    import_graph,
    read_onnx,
)
from edgepose.host.convert.direct.order_channels import order_channels
from edgepose.host.convert.direct.tflite_writer import serialize
from edgepose.host.convert.direct.upsampling import nest_upsampled_sums, upsample_by_concatenation
from edgepose.records.files import write_whole
from edgepose.runtime.model_file import ModelFile

HANDLERS: dict[str, Handler] = {
    **import_conv.HANDLERS,
    **import_elementwise.HANDLERS,
    **import_shape.REDUCE_HANDLERS,
    **import_conv.RESIZE_HANDLERS,
    **import_shape.HANDLERS,
}

PASSES = (
    GraphPass("sink_transposes", sink_transposes, (), ("transposes_cancelled", "nothing_dead")),
    GraphPass("free_transposes_to_reshapes", rewrites.free_transposes_to_reshapes),
    GraphPass("merge_reshapes", rewrites.merge_reshapes),
    GraphPass("merge_slices", rewrites.merge_slices),
    GraphPass("share_equal_operators", rewrites.share_equal_operators),
    GraphPass("recognize_activations", rewrites.recognize_activations, ("activations_apart",)),
    GraphPass("divide_by_root_with_rsqrt", rewrites.divide_by_root_with_rsqrt),
    GraphPass("fold_constants", rewrites.fold_constants_into_convolutions, ("activations_apart",)),
    GraphPass("nest_upsampled_sums", nest_upsampled_sums, ("activations_apart",)),
    GraphPass("find_channel_selects", find_channel_selects),
    GraphPass("order_channels", order_channels, (), ("spelled",)),
    GraphPass("fuse_activations", rewrites.fuse_activations, ("activations_apart",)),
    GraphPass("multiply_for_lone_activations", rewrites.multiply_for_lone_activations),
    GraphPass("upsample_by_concatenation", upsample_by_concatenation),
    GraphPass("merge_reshapes_again", rewrites.merge_reshapes),
    GraphPass("fold_space_to_depth", rewrites.fold_space_to_depth),
    GraphPass("fuse_padding", rewrites.fuse_padding, (), ("spelled", "nothing_dead")),
)


@dataclass(frozen=True)
class DirectConversion:
    """What the direct route did.

    Attributes:
        output_permutations: Per output, ``perm`` with ``tflite = onnx.transpose(perm)``.
        input_permutations: Per input, the same.
    """

    output_permutations: dict[str, tuple[int, ...]]
    input_permutations: dict[str, tuple[int, ...]]
    ops_total: int
    op_counts: dict[str, int]
    notes: tuple[str, ...]


def convert_direct(source: Path | ModelFile, output: Path) -> DirectConversion:
    """Convert an ONNX file of static shapes (a dynamic batch becomes 1) to a float32 .tflite file in NHWC.

    Raises:
        UnsupportedByDirectRoute: If an operator or attribute cannot be converted exactly.
        ModelError: If the file is not a usable ONNX model.
    """
    graph = import_graph(read_onnx(source), HANDLERS)
    counts = run_passes(graph, PASSES)
    inputs = _settle_inputs(graph)
    outputs = _settle_outputs(graph)
    run_passes(graph, PASSES[1:3])
    write_whole(output, [serialize(graph)])
    notes = tuple(f"{name}: {count}" for name, count in counts if count)
    kinds = dict(sorted(Counter(op.kind for op in graph.ops).items()))
    return DirectConversion(outputs, inputs, len(graph.ops), kinds, notes)


def _settle_inputs(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Keep an image NHWC, unless all that reads it wants ONNX's order."""
    permutations = {}
    for value in graph.inputs:
        permutations[value.name] = tuple(range(len(value.shape)))
        if value.name in graph.inputs_as_in_onnx:
            continue
        permutations[value.name] = NHWC_FROM_NCHW
        users = list(value.users)
        if users and all(
            op.kind == "TRANSPOSE" and tuple(op.attrs["perm"]) == NCHW_FROM_NHWC for op in users
        ):
            value.shape = users[0].output.shape
            permutations[value.name] = (0, 1, 2, 3)
            for op in users:
                op.kind, op.attrs = "RESHAPE", {"shape": value.shape}
    return permutations


def _settle_outputs(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Drop a TRANSPOSE to ONNX's order in front of a 4-D output: it stays NHWC."""
    permutations = {}
    for position, value in enumerate(graph.outputs):
        name, op = graph.output_names[position], value.producer
        permutations[name] = tuple(range(len(value.shape)))
        if op is None or op.kind != "TRANSPOSE" or tuple(op.attrs["perm"]) != NCHW_FROM_NHWC:
            continue
        source = op.inputs[0]
        if source.producer is not None and not graph.is_output(source):
            graph.outputs[position] = source
            permutations[name] = NHWC_FROM_NCHW
    return permutations
