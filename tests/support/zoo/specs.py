"""The TOML specs of the zoo, as a user would write them."""

from __future__ import annotations

from edgepose.records.model_spec import ModelSpec
from edgepose.records.record import from_builtins, parse_toml

_TEXT = """name = "{name}"
version = "1"
licence = "Apache-2.0"
source = "constructed in the tests"
skeleton = "coco17"
paradigm = "{paradigm}"

[input]
{size}
layout = "{layout}"
color_order = "{order}"
{normalization}

[codec]
{codec}
"""
CROP = 'width_px = 96\nheight_px = 128\nresize = "crop"\nbox_scale = 1.25'
LETTERBOX = 'width_px = 160\nheight_px = 128\nresize = "letterbox"\npad_value = 114'
STRETCH = 'width_px = 160\nheight_px = 128\nresize = "stretch"'
IMAGENET = "mean = [123.675, 116.28, 103.53]\nstd = [58.395, 57.12, 57.375]"
UNIT = "std = [255.0, 255.0, 255.0]"
SIGNED = "mean = [127.5, 127.5, 127.5]\nstd = [127.5, 127.5, 127.5]"
HEATMAP = 'kind = "heatmap"\nsubpixel = "dark"'


def spec_toml(
    name: str,
    *,
    paradigm: str = "top_down",
    size: str = CROP,
    layout: str = "NCHW",
    order: str = "RGB",
    normalization: str = IMAGENET,
    codec: str = HEATMAP,
) -> str:
    """The text for ``--spec``."""
    return _TEXT.format(
        name=name,
        paradigm=paradigm,
        size=size,
        layout=layout,
        order=order,
        normalization=normalization,
        codec=codec,
    )


def spec_of(text: str) -> ModelSpec:
    """The same as a record."""
    return from_builtins(parse_toml(text, "zoo"), ModelSpec, "zoo")
