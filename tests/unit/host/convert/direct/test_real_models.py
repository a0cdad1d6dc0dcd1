"""The real models: same numbers, same peaks, nothing left outside the delegate."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.unit.host.convert.direct.comparison import Arrays, compare


def _pictures(folder: Path, name: str, count: int) -> list[Arrays]:
    feeds = []
    for path in sorted((folder / "coco_val").rglob("*.jpg"))[:count]:
        image = cv2.imread(str(path))
        assert image is not None
        if name == "yolox_nano":
            feeds.append(
                {"images": cv2.resize(image, (416, 416)).astype(np.float32).transpose(2, 0, 1)[None]}
            )
            continue
        size = (192, 256) if "256" in name else (96, 128)
        rgb = cv2.resize(image, size)[..., ::-1].astype(np.float32) / 255
        norm = (rgb - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
        feeds.append({"image": np.ascontiguousarray(norm.transpose(2, 0, 1)[None])})
    return feeds


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["tinypose_256x192", "tinypose_128x96", "yolox_nano"])
def test_real_model_equals_onnxruntime(name: str, shared_data: Path, tmp_path: Path) -> None:
    source = tmp_path / f"{name}.onnx"
    source.write_bytes((shared_data / "models" / f"{name}.onnx").read_bytes())
    for feeds in _pictures(shared_data, name, 3):
        result = compare(source, feeds=feeds)

        assert result.worst < 1e-4
        assert result.kinds["DELEGATE"] == 1
        assert "TRANSPOSE" not in result.conversion.op_counts
        if "tinypose" in name:
            wanted, found = (
                maps["heatmaps"].reshape(17, -1).argmax(axis=1) for maps in (result.expected, result.found)
            )
            assert wanted.tolist() == found.tolist()
