"""The student family: plain convolutional heatmap networks that every delegate takes.

Only convolutions, ReLU, additions and bilinear upsampling, all of static shape; batch normalization folds
into the convolutions. Full 3x3 convolutions instead of depthwise ones: at the same latency on one core they
hold more weights and train more than twice as fast (docs/adr/0017-students.md has the measured table). An
encoder halves the image down to stride 16 or 32; a decoder climbs back to stride 4, adding the encoder's
maps on the way (as U-Nets and feature pyramids do).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgepose.errors import ConfigError
from edgepose.pose.skeletons import COCO17, Skeleton
from edgepose.records.model_spec import HeatmapCodecSpec, InputSpec, ModelSpec

MAP_STRIDE_PX = 4
# (x - 127.5) / 127.5 is exact on an int8 grid: one level of the input is one level of the image.
INPUT_OFFSET = 127.5
# SimpleBaseline (Xiao et al. 2018) uses 8 px at 256 px of height; in proportion here.
_SIGMA_OF_HEIGHT = 8 / 256


@dataclass(frozen=True)
class StudentDesign:
    """One size of the family.

    Attributes:
        name: Its name on the command line.
        input_wh: Input size in pixels, each side a multiple of the deepest stride.
        stem: Channels after the first convolution, at stride 2.
        channels: Channels of each encoder stage, from stride 4 on.
        blocks: Residual blocks in each encoder stage.
        decoder: Channels of each decoder stage, from the deepest on; as many as reach stride 4, or fewer.
    """

    name: str
    input_wh: tuple[int, int]
    stem: int
    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    decoder: tuple[int, ...]

    @property
    def map_stride_px(self) -> int:
        """Input pixels a cell: 4, or more where the decoder ends earlier."""
        return int(MAP_STRIDE_PX * 2 ** (len(self.channels) - 1 - len(self.decoder)))

    @property
    def map_wh(self) -> tuple[int, int]:
        """Size of an output map."""
        return self.input_wh[0] // self.map_stride_px, self.input_wh[1] // self.map_stride_px

    @property
    def sigma_cells(self) -> float:
        """Standard deviation of a target Gaussian in heatmap cells."""
        return _SIGMA_OF_HEIGHT * self.input_wh[1] / MAP_STRIDE_PX


STUDENTS: dict[str, StudentDesign] = {
    design.name: design
    for design in (
        StudentDesign("edgepose-n", (96, 128), 12, (16, 32, 64, 96), (0, 0, 1, 1), (48, 32, 16)),
        StudentDesign("edgepose-s", (128, 160), 16, (16, 32, 64, 128), (0, 0, 1, 2), (64, 32, 24)),
        StudentDesign("edgepose-m", (160, 192), 16, (24, 48, 96, 160), (0, 1, 1, 2), (96, 48, 32)),
    )
}
STUDENT_SKELETON: Skeleton = COCO17


def student_named(name: str, input_wh: tuple[int, int] | None = None) -> StudentDesign:
    """Finds a size of the family.

    Raises:
        ConfigError: There is none of that name, or the network cannot halve that input size often enough.
    """
    if name not in STUDENTS:
        raise ConfigError(f"There is no student '{name}'.", f"Choose one of {', '.join(STUDENTS)}.")
    design = STUDENTS[name]
    return design if input_wh is None else resized(design, input_wh)


def resized(design: StudentDesign, input_wh: tuple[int, int]) -> StudentDesign:
    """The design with another input size.

    Raises:
        ConfigError: The network cannot halve that input size often enough.
    """
    stride = 2 ** (1 + len(design.channels))
    if any(side < stride or side % stride for side in input_wh):
        width, height = input_wh
        raise ConfigError(
            f"{design.name} cannot take an input of {width}x{height} pixels.",
            f"Each side must be a multiple of {stride}, such as {design.input_wh[0]}x{design.input_wh[1]}.",
        )
    return replace(design, input_wh=input_wh)


def student_spec(design: StudentDesign, licence: str, source: str) -> ModelSpec:
    """How the exported student is run."""
    return ModelSpec(
        name=design.name,
        version="1",
        skeleton=STUDENT_SKELETON.name,
        paradigm="top_down",
        licence=licence,
        source=source,
        input=InputSpec(
            width_px=design.input_wh[0],
            height_px=design.input_wh[1],
            layout="NHWC",
            color_order="RGB",
            resize="crop",
            mean=(INPUT_OFFSET,) * 3,
            std=(INPUT_OFFSET,) * 3,
        ),
        codec=HeatmapCodecSpec(subpixel="dark"),
    )


def build_student(design: StudentDesign, keypoint_count: int, dtype: str = "float32") -> Any:
    """Builds the network with fresh weights (seed Keras before).

    Args:
        design: The size.
        keypoint_count: K.
        dtype: Keras dtype policy; ``mixed_bfloat16`` on accelerators.

    Returns:
        A functional Keras model: (N, H, W, 3) normalized to (N, H / 4, W / 4, K), linear.
    """
    import keras

    net = _Layers(keras, dtype)
    width, height = design.input_wh
    image = keras.Input((height, width, 3), name="image")
    x = net.conv(image, design.stem, stride=2)
    stages = []
    for channels, blocks in zip(design.channels, design.blocks, strict=True):
        x = net.conv(x, channels, stride=2)
        for _ in range(blocks):
            x = net.residual(x, channels)
        stages.append(x)
    x = net.decode(x, stages[-2::-1][: len(design.decoder)], design.decoder)
    # Heatmaps are mostly 0: a bias of 0 and small weights start near the answer.
    maps = keras.layers.Conv2D(
        keypoint_count,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype="float32",
        name="heatmaps",
    )(x)
    return keras.Model(image, maps, name=design.name.replace("-", "_"))


@dataclass(frozen=True)
class _Layers:
    """The few kinds of block."""

    keras: Any
    dtype: str

    def conv(self, x: Any, channels: int, kernel: int = 3, stride: int = 1, *, active: bool = True) -> Any:
        layers = self.keras.layers
        x = layers.Conv2D(
            channels,
            kernel,
            stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype,
        )(x)
        x = layers.BatchNormalization(momentum=0.98, dtype=self.dtype)(x)
        return layers.ReLU(6.0, dtype=self.dtype)(x) if active else x

    def residual(self, x: Any, channels: int) -> Any:
        y = self.conv(x, channels)
        return self.joined(x, self.conv(y, channels, active=False))

    def joined(self, x: Any, y: Any) -> Any:
        layers = self.keras.layers
        return layers.ReLU(6.0, dtype=self.dtype)(layers.Add(dtype=self.dtype)([x, y]))

    def decode(self, x: Any, skips: Sequence[Any], channels: Sequence[int]) -> Any:
        layers = self.keras.layers
        for skip, count in zip(skips, channels, strict=True):
            x = self.conv(x, count, kernel=1, active=False)
            x = layers.UpSampling2D(2, interpolation="bilinear", dtype=self.dtype)(x)
            x = self.joined(x, self.conv(skip, count, kernel=1, active=False))
            x = self.conv(x, count)
        return x
