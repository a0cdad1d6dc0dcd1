"""The detector students: the pose students' network with maps at stride 8, five channels."""

from __future__ import annotations

from edgepose.host.distill.students import INPUT_OFFSET, StudentDesign
from edgepose.spec.model_spec import CenterCodecSpec, InputSpec, ModelSpec

# The grey that YOLOX pads with; a padded border then looks the same to teacher and student.
PAD_VALUE = 114

DETECTORS: dict[str, StudentDesign] = {
    design.name: design
    for design in (StudentDesign("edgepose-d", (192, 192), 12, (16, 32, 48, 80), (0, 0, 1, 2), (48, 40)),)
}


def detector_spec(design: StudentDesign, licence: str, source: str) -> ModelSpec:
    """How the exported detector is run."""
    return ModelSpec(
        name=design.name,
        version="1",
        paradigm="detector",
        licence=licence,
        source=source,
        input=InputSpec(
            width_px=design.input_wh[0],
            height_px=design.input_wh[1],
            layout="NHWC",
            color_order="RGB",
            resize="letterbox",
            pad_value=PAD_VALUE,
            mean=(INPUT_OFFSET,) * 3,
            std=(INPUT_OFFSET,) * 3,
        ),
        codec=CenterCodecSpec(),
    )
