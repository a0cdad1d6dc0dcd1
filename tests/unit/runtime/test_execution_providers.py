"""Which execution providers run a model: what was asked for, what may replace it, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgepose.accelerators import EngineRequest, accelerator
from edgepose.errors import DeviceError, ModelError
from edgepose.records.device_profile import find_profile
from edgepose.runtime.backend import run_once
from edgepose.runtime.backends.onnxruntime_backend import (
    OnnxRuntimeBackend,
    choose_providers,
    describe_session,
    refuse_dropped,
)
from edgepose.runtime.open_model import RuntimeOptions, open_backend
from tests.support.tiny_models import OPS, SHAPE, expected_output, write_onnx

TRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


def test_the_profiles_order_is_asked_for_and_nothing_else() -> None:
    assert choose_providers(("tensorrt",), [TRT, CUDA, CPU]) == [TRT]
    assert choose_providers(("tensorrt", "cuda", "cpu"), [CPU, CUDA, TRT]) == [TRT, CUDA, CPU]
    assert choose_providers(("tensorrt", "cpu"), [CUDA, CPU]) == [CPU]


def test_a_provider_that_is_not_there_is_refused_unless_the_next_is() -> None:
    with pytest.raises(DeviceError, match=f"{TRT} is required"):
        choose_providers(("tensorrt",), [CUDA, CPU])
    with pytest.raises(DeviceError, match="no delegate xnnpack"):
        choose_providers(("xnnpack",), [CPU])


def test_a_provider_that_onnx_runtime_left_out_is_an_error() -> None:
    with pytest.raises(DeviceError, match="could not be loaded"):
        refuse_dropped(("tensorrt",), [TRT], [CPU])
    refuse_dropped(("tensorrt",), [TRT], [TRT, CPU])
    refuse_dropped(("tensorrt", "cpu"), [TRT, CPU], [CPU])


def test_the_first_provider_that_took_ops_is_the_one_that_is_reported() -> None:
    whole = describe_session("1", 2, ("tensorrt",), {TRT: 9, CPU: 1})
    assert (whole.delegate_used, whole.ops_total, whole.ops_on_cpu, whole.fallback_from) == (
        "tensorrt",
        10,
        1,
        None,
    )
    fallen = describe_session("1", 2, ("tensorrt", "cuda", "cpu"), {CUDA: 10})
    assert (fallen.delegate_used, fallen.ops_on_cpu, fallen.fallback_from) == ("cuda", 0, "tensorrt")
    with pytest.raises(DeviceError, match="took none of the 10 ops"):
        describe_session("1", 2, ("tensorrt",), {CPU: 10})


def test_jetsons_profile_is_refused_on_a_machine_without_tensorrt(tmp_path: Path) -> None:
    assert TRT not in onnxruntime.get_available_providers()
    options = RuntimeOptions.for_device(find_profile("jetson").runtime, "int8", tmp_path / "engines")
    with pytest.raises(DeviceError, match="no silent fallback"):
        open_backend(write_onnx(tmp_path / "model"), options)
    assert not (tmp_path / "engines").exists()


def test_an_allowed_fallback_runs_and_is_recorded(tmp_path: Path) -> None:
    backend = open_backend(write_onnx(tmp_path / "model"), RuntimeOptions(delegates=("tensorrt", "cpu")))
    assert (backend.info.delegate_used, backend.info.fallback_from) == ("cpu", "tensorrt")
    assert backend.info.ops_on_cpu == backend.info.ops_total == OPS
    values = np.zeros(SHAPE, np.float32)
    np.testing.assert_allclose(run_once(backend, values)[0], expected_output(values), atol=1e-5)
    # Asked for by itself the CPU is no fallback.
    assert open_backend(tmp_path / "model", RuntimeOptions(delegates=("cpu",))).info.fallback_from is None


class FailingTensorRt:
    """A fake: onnxruntime as it is where TensorRT is built in and its libraries fail."""

    __version__ = onnxruntime.__version__
    SessionOptions = onnxruntime.SessionOptions

    @staticmethod
    def get_available_providers() -> list[str]:
        return [TRT, CPU]

    class InferenceSession(onnxruntime.InferenceSession):  # type: ignore[misc]
        """The real session, but for TensorRT."""

        def __init__(self, path: str, options: Any, providers: list[Any], **more: Any) -> None:
            if any(name == TRT for name, _ in providers):
                raise RuntimeError("libnvinfer.so.10: cannot open shared object file")
            super().__init__(path, options, providers=providers, **more)


def test_a_provider_whose_libraries_fail_is_an_error_or_the_recorded_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", FailingTensorRt)
    path = write_onnx(tmp_path / "model")
    with pytest.raises(DeviceError, match=r"libnvinfer\.so\.10"):
        OnnxRuntimeBackend(path, 1, ("tensorrt",))
    assert OnnxRuntimeBackend(path, 1, ("tensorrt", "cpu")).info.fallback_from == "tensorrt"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match="cannot be loaded"):
        OnnxRuntimeBackend(path, 1, ("tensorrt",))


class DroppingTensorRt(FailingTensorRt):
    """A fake: onnxruntime as it is where it leaves a provider out that did not load, and says nothing."""

    class InferenceSession(onnxruntime.InferenceSession):  # type: ignore[misc]
        """The real session, without TensorRT."""

        def __init__(self, path: str, options: Any, providers: list[Any], **more: Any) -> None:
            kept = [entry for entry in providers if entry[0] != TRT] or [CPU]
            super().__init__(path, options, providers=kept, **more)


def test_a_provider_that_onnx_runtime_drops_silently_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", DroppingTensorRt)
    path = write_onnx(tmp_path / "model")
    with pytest.raises(DeviceError, match="could not be loaded"):
        OnnxRuntimeBackend(path, 1, ("tensorrt",))
    info = OnnxRuntimeBackend(path, 1, ("tensorrt", "cpu")).info
    assert (info.delegate_used, info.fallback_from) == ("cpu", "tensorrt")


def test_only_tensorrt_has_settings(tmp_path: Path) -> None:
    def asked(cache: Path) -> EngineRequest:
        return EngineRequest(lambda: "0" * 64, "int8", onnxruntime.__version__, cache)

    assert accelerator("cpu").provider_options(asked(tmp_path)) == {}
    assert accelerator("cuda").provider_options(asked(tmp_path)) == {}
    settings = accelerator("tensorrt").provider_options(asked(tmp_path / "engines"))
    assert settings["trt_int8_enable"] == "True"
