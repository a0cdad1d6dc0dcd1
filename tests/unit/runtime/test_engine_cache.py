"""TensorRT's engine cache: every part of the identity gives another folder."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from edgepose.accelerators.tensorrt import (
    EngineIdentity,
    engine_cache_key,
    engine_folder,
    gpu_identity,
    tensorrt_options,
    tensorrt_version,
)

ORIN = EngineIdentity(
    model_sha256="a" * 64,
    precision="int8",
    onnxruntime_version="1.18.0",
    tensorrt_version="100300",
    cuda_version="12.6",
    gpu_name="Orin",
    compute_capability="8.7",
)
NAMES = [field.name for field in fields(EngineIdentity)]


@pytest.mark.parametrize("name", NAMES)
def test_each_part_of_the_identity_changes_the_key(name: str) -> None:
    changed = replace(ORIN, **{name: f"{getattr(ORIN, name)}1"})
    assert engine_cache_key(changed) != engine_cache_key(ORIN)
    assert engine_cache_key(replace(ORIN)) == engine_cache_key(ORIN)


def test_parts_that_read_alike_when_joined_have_different_keys() -> None:
    first = replace(ORIN, gpu_name="Orin 8", compute_capability="7")
    second = replace(ORIN, gpu_name="Orin ", compute_capability="87")
    assert engine_cache_key(first) != engine_cache_key(second)


@pytest.mark.parametrize("name", NAMES)
def test_an_identity_with_an_unknown_part_keeps_no_engine(name: str, tmp_path: Path) -> None:
    partly = replace(ORIN, **{name: None})
    assert partly.unknown == (name,)
    assert engine_folder(partly, tmp_path) is None
    with pytest.raises(ValueError, match=name):
        engine_cache_key(partly)
    assert engine_folder(ORIN, tmp_path) == tmp_path / engine_cache_key(ORIN)
    assert engine_folder(ORIN, None) is None


def test_the_options_follow_the_models_precision_and_the_folder(tmp_path: Path) -> None:
    switches = ("trt_int8_enable", "trt_fp16_enable")
    for precision, expected in (
        ("int8", ("True", "False")),
        ("float16", ("False", "True")),
        ("float32", ("False", "False")),
        (None, ("False", "False")),
    ):
        options = tensorrt_options(precision, None)  # type: ignore[arg-type]
        assert tuple(options[name] for name in switches) == expected
        assert (options["trt_engine_cache_enable"], options["trt_timing_cache_enable"]) == ("False", "False")
        assert "trt_engine_cache_path" not in options
    kept = tensorrt_options("int8", tmp_path)
    assert (kept["trt_engine_cache_enable"], kept["trt_timing_cache_enable"]) == ("True", "True")
    assert kept["trt_engine_cache_path"] == kept["trt_timing_cache_path"] == str(tmp_path)


def test_a_machine_without_nvidias_libraries_says_nothing_about_them() -> None:
    gpu, version = gpu_identity(), tensorrt_version()
    assert gpu is None or (gpu.name and "." in gpu.cuda_version and "." in gpu.compute_capability)
    assert version is None or version.isdigit()
