"""Small models that look at the picture, and bundles of them, for tests of bundle and installer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from msgspec.structs import replace as with_fields
from onnx import TensorProto, helper, numpy_helper

from edgepose.host.bundle.builder import BundleRequest, build_bundle
from edgepose.records.device_profile import (
    Budgets,
    CameraProfile,
    DeviceProfile,
    HardwareProfile,
    QuantizationProfile,
    RuntimeProfile,
)
from edgepose.records.lineage import LINEAGE_METADATA_KEY, Lineage, lineage_to_json
from edgepose.records.model_spec import (
    SPEC_METADATA_KEY,
    HeatmapCodecSpec,
    InputSpec,
    ModelSpec,
    spec_to_json,
)

INPUT_PX = 64
KEYPOINTS = 17

# An x86 machine is the device of no packaged profile, so the tests' device is one that never is this one.
PROFILE = DeviceProfile(
    id="test-board",
    description="A board for tests that no machine is",
    hardware=HardwareProfile(
        arch="aarch64",
        os="linux",
        python=("3.11",),
        memory_mib=1024,
        cpu_cores=2,
        device_tree_models=("No such board",),
    ),
    runtime=RuntimeProfile(
        name="onnxruntime",
        model_format="onnx",
        min_version="1.18",
        threads=1,
        delegate="cpu",
        delegate_required=True,
    ),
    quantization=QuantizationProfile(
        precisions=("int8", "float32"),
        recipes={"int8": "static_wi8_ai8", "float32": "float32"},
        integer_only=False,
    ),
    budgets=Budgets(
        latency_p95_ms=1000.0,
        peak_memory_mib=2000.0,
        bundle_mib=5.0,
        max_oks_ap_drop=0.01,
        max_slice_drop=0.03,
    ),
    camera=CameraProfile(source="0", width_px=640, height_px=480, fps=30.0),
)


@dataclass(frozen=True)
class MatchedFilters:
    """A model of random matched filters: heatmap K peaks where the picture looks most like filter K.

    Attributes:
        seed: Chooses the filters.
        stuck: Whether it sees the same pose in every crop.
    """

    seed: int = 0
    stuck: bool = False

    def spec(self) -> ModelSpec:
        return ModelSpec(
            name="matched_filters",
            version=str(self.seed),
            paradigm="top_down",
            licence="Apache-2.0",
            source="tests",
            input=InputSpec(
                width_px=INPUT_PX,
                height_px=INPUT_PX,
                layout="NCHW",
                color_order="RGB",
                resize="crop",
                mean=(127.0, 127.0, 127.0),
                std=(64.0, 64.0, 64.0),
            ),
            codec=HeatmapCodecSpec(subpixel="none"),
            skeleton="coco17",
        )

    def write(self, path: Path, lineage: Lineage | None = None) -> Path:
        """Writes the model as ONNX with its spec inside."""
        generator = np.random.default_rng(self.seed)
        filters = generator.normal(size=(KEYPOINTS, 3, 8, 8)).astype(np.float32) / 64
        bias = np.zeros((1, KEYPOINTS, 16, 16), np.float32)
        if self.stuck:
            bias[0, np.arange(KEYPOINTS), generator.integers(0, 16, KEYPOINTS), 5] = 1e4
        nodes = [
            helper.make_node(
                "Conv", ["image", "filters"], ["found"], kernel_shape=[8, 8], strides=[4, 4], pads=[2] * 4
            ),
            helper.make_node("Add", ["found", "bias"], ["heatmaps"]),
        ]
        graph = helper.make_graph(
            nodes,
            "matched_filters",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, INPUT_PX, INPUT_PX])],
            [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, bias.shape)],
            [numpy_helper.from_array(filters, "filters"), numpy_helper.from_array(bias, "bias")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
        texts = {SPEC_METADATA_KEY: spec_to_json(self.spec())}
        if lineage is not None:
            texts[LINEAGE_METADATA_KEY] = lineage_to_json(lineage)
        for key, value in texts.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
        onnx.save(model, path)
        return path


def profile_named(profile_id: str) -> DeviceProfile:
    """The tests' profile under another id."""
    return with_fields(PROFILE, id=profile_id)


def write_bundle(folder: Path, version: int = 1, model: MatchedFilters | None = None) -> Path:
    """A bundle of a model that is its own parent."""
    source = (model or MatchedFilters()).write(folder / f"model{version}.onnx")
    return build_bundle(
        BundleRequest(source, PROFILE, folder / f"version{version}.epb", bundle_version=version)
    )


def request_for(model: Path, output: Path, **changes: object) -> BundleRequest:
    """A request with some fields changed."""
    return replace(BundleRequest(model, PROFILE, output), **changes)  # type: ignore[arg-type]
