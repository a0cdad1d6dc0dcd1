"""All zoo models by name; what a test needs of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgepose.spec.model_spec import ModelSpec
from tests.support.zoo import mobile_heatmap, shuffle_heatmap
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
}
