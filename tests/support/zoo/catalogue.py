"""All zoo models by name; what a test needs of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgepose.records.model_spec import ModelSpec
from tests.support.zoo import (
    layernorm_simcc,
    mobile_heatmap,
    movenet_single,
    multibranch_heatmap,
    shuffle_heatmap,
    silu_heatmap,
    yolo_pose,
)
from tests.support.zoo.specs import spec_of


@dataclass(frozen=True)
class ZooFamily:
    """One architecture family.

    Attributes:
        build: ``build(path, seed=0, with_spec=True)`` writes the ONNX file and returns its path.
        spec_toml: Text for ``--spec``.
    """

    build: Callable[..., Path]
    spec_toml: str

    @property
    def spec(self) -> ModelSpec:
        """The spec as a record."""
        return spec_of(self.spec_toml)


ZOO: dict[str, ZooFamily] = {
    "shuffle_heatmap": ZooFamily(shuffle_heatmap.build, shuffle_heatmap.SPEC_TOML),
    "mobile_heatmap": ZooFamily(mobile_heatmap.build, mobile_heatmap.SPEC_TOML),
    "silu_heatmap": ZooFamily(silu_heatmap.build, silu_heatmap.SPEC_TOML),
    "multibranch_heatmap": ZooFamily(multibranch_heatmap.build, multibranch_heatmap.SPEC_TOML),
    "layernorm_simcc": ZooFamily(layernorm_simcc.build, layernorm_simcc.SPEC_TOML),
    "movenet_single": ZooFamily(movenet_single.build, movenet_single.SPEC_TOML),
    "yolo_pose": ZooFamily(yolo_pose.build, yolo_pose.spec_text(transposed=False)),
    "yolo_pose_rows": ZooFamily(
        partial(yolo_pose.build, transposed=True), yolo_pose.spec_text(transposed=True)
    ),
}
