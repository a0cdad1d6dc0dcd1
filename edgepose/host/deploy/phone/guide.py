"""The README of an app folder: how to run this very model, in words, Kotlin and Swift, in its numbers."""

from __future__ import annotations

from typing import Any

from edgepose.records.bundle_manifest import BundleManifest

_TEXT = """\
# {name} for an app

Made by `edgepose phone` from a verified bundle. No phone was at hand when this text was written: the steps below are run
by edgepose's tests in plain Python against the golden frames; the Kotlin and Swift code was read, not compiled.

- `pose.tflite`: the model, {precision}. Load it with LiteRT (Android: `com.google.ai.edge.litert:litert`; iOS: `LiteRT`).
- `spec.json`: every number that is needed, for a program.
- `golden/`: {frames} pictures with a person box and the keypoints that the float parent sees. Run them once at the first
  start of the app: mean OKS under {tolerance} in any of them means that something is wired wrongly, or that a delegate
  computes nonsense. Refuse to go on then.

## 1. From box to crop

The input is {width} x {height} pixels (width x height). Give the person box the input's aspect ratio by growing its shorter
side about the centre, then grow it by {box_scale}. Input pixel (i, j) shows image position (x0 + i * w / {width},
y0 + j * h / {height}), bilinear, no half pixel; outside of the image it is {pad_value}. Colours are {color_order}.

## 2. From pixels to the tensor

`{dtype}`, shape {shape}, one picture. real = (value - mean) / std with mean {mean} and std {std}.
{quantize}

## 3. From heatmaps to keypoints

The output has shape {out_shape}: rows, columns, keypoints. {dequantize}
For each keypoint take the highest cell; its value is the score. Move a quarter of a cell towards the higher neighbour, in x
and in y, unless the cell lies at the border. Image x = x0 + cell_x * {width} / {map_width} * w / {width}; y alike. On devices
edgepose itself refines by DARK, which is a little finer; a quarter of a cell reaches the golden frames' tolerance.
Report a pose when the mean score reaches {min_pose_score}.

## Kotlin

```kotlin
class Crop(val x0: Float, val y0: Float, val w: Float, val h: Float)

fun cropOf(x0: Float, y0: Float, x1: Float, y1: Float): Crop {{
    val aspect = {width}f / {height}f
    var w = x1 - x0
    var h = y1 - y0
    if (w > h * aspect) h = w / aspect else w = h * aspect
    w *= {box_scale}f
    h *= {box_scale}f
    return Crop((x0 + x1) / 2 - w / 2, (y0 + y1) / 2 - h / 2, w, h)
}}

/** The real value of a stored cell of the heatmaps. */
fun cell(stored: {kotlin_type}): Float = {kotlin_dequantize}

fun keypoint(maps: Array<Array<FloatArray>>, k: Int, crop: Crop): FloatArray {{
    val rows = maps.size
    val columns = maps[0].size
    var bestY = 0
    var bestX = 0
    for (y in 0 until rows) for (x in 0 until columns)
        if (maps[y][x][k] > maps[bestY][bestX][k]) {{ bestY = y; bestX = x }}
    var x = bestX.toFloat()
    var y = bestY.toFloat()
    if (bestX in 1 until columns - 1 && bestY in 1 until rows - 1) {{
        x += 0.25f * kotlin.math.sign(maps[bestY][bestX + 1][k] - maps[bestY][bestX - 1][k])
        y += 0.25f * kotlin.math.sign(maps[bestY + 1][bestX][k] - maps[bestY - 1][bestX][k])
    }}
    return floatArrayOf(crop.x0 + x / columns * crop.w, crop.y0 + y / rows * crop.h, maps[bestY][bestX][k])
}}
```

## Swift

```swift
struct Crop {{ let x0, y0, w, h: Float }}

func crop(x0: Float, y0: Float, x1: Float, y1: Float) -> Crop {{
    let aspect: Float = {width}.0 / {height}.0
    var w = x1 - x0, h = y1 - y0
    if w > h * aspect {{ h = w / aspect }} else {{ w = h * aspect }}
    w *= {box_scale}
    h *= {box_scale}
    return Crop(x0: (x0 + x1) / 2 - w / 2, y0: (y0 + y1) / 2 - h / 2, w: w, h: h)
}}

func sign(_ value: Float) -> Float {{ value > 0 ? 1 : (value < 0 ? -1 : 0) }}

func keypoint(_ maps: [[[Float]]], _ k: Int, _ crop: Crop) -> (x: Float, y: Float, score: Float) {{
    let rows = maps.count, columns = maps[0].count
    var bestX = 0, bestY = 0
    for y in 0..<rows {{ for x in 0..<columns where maps[y][x][k] > maps[bestY][bestX][k] {{ bestY = y; bestX = x }} }}
    var x = Float(bestX), y = Float(bestY)
    if bestX > 0, bestX < columns - 1, bestY > 0, bestY < rows - 1 {{
        x += 0.25 * sign(maps[bestY][bestX + 1][k] - maps[bestY][bestX - 1][k])
        y += 0.25 * sign(maps[bestY + 1][bestX][k] - maps[bestY - 1][bestX][k])
    }}
    return (crop.x0 + x / Float(columns) * crop.w, crop.y0 + y / Float(rows) * crop.h, maps[bestY][bestX][k])
}}
```

Keypoints in order: {keypoints}.
"""


def reading_guide(manifest: BundleManifest, pose: dict[str, Any]) -> str:
    """The text for one model, as ``spec.json`` describes it."""
    entry, (output,) = pose["input"], pose["outputs"]
    scale, zero = entry["scale"], entry["zero_point"]
    out_scale, out_zero = output["scale"], output["zero_point"]
    return _TEXT.format(
        name=manifest.model.spec.name,
        precision=manifest.model.precision,
        frames=len(manifest.golden.frames),
        tolerance=manifest.golden.tolerance_oks,
        width=manifest.model.spec.input.width_px,
        height=manifest.model.spec.input.height_px,
        box_scale=entry["box_scale"],
        pad_value=entry["pad_value"],
        color_order=entry["color_order"],
        dtype=entry["dtype"],
        shape=entry["shape"],
        mean=entry["mean"],
        std=entry["std"],
        quantize="The tensor takes that value."
        if scale is None
        else f"The tensor takes round(real / {scale:.9g}) + {zero}, cut to -128..127.",
        out_shape=output["shape"],
        map_width=output["shape"][2],
        dequantize="Cells are real values."
        if out_scale is None
        else f"Real value of a cell: (stored - {out_zero}) * {out_scale:.9g}.",
        min_pose_score=pose["min_pose_score"],
        kotlin_type="Float" if out_scale is None else "Byte",
        kotlin_dequantize="stored" if out_scale is None else f"(stored - ({out_zero})) * {out_scale:.9g}f",
        keypoints=", ".join(pose["keypoint_names"]),
    )
