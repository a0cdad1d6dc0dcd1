"""What every backend promises, on the same tiny model in both formats."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from edgepose.errors import ConfigError, DeviceError, ModelError
from edgepose.records.device_profile import find_profile
from edgepose.runtime.backend import Backend, run_once
from edgepose.runtime.backends.litert_backend import LiteRtBackend
from edgepose.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from edgepose.runtime.open_model import RuntimeOptions, open_backend
from tests.support.tiny_models import OPS, SHAPE, expected_output, write_onnx, write_tflite

Write = Callable[..., Path]
BOTH = pytest.mark.parametrize("write", [write_tflite, write_onnx], ids=["litert", "onnxruntime"])


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def opened(write: Write, folder: Path, options: RuntimeOptions | None = None) -> Backend:
    return open_backend(write(folder / "model"), options)


@BOTH
def test_a_backend_computes_what_the_model_says(write: Write, tmp_path: Path) -> None:
    backend = opened(write, tmp_path)
    for seed in range(3):
        (result,) = run_once(backend, picture(seed))
        np.testing.assert_allclose(result, expected_output(picture(seed)), atol=1e-5)


@BOTH
def test_a_backend_describes_its_tensors(write: Write, tmp_path: Path) -> None:
    backend = opened(write, tmp_path)
    assert (backend.input.name, backend.input.shape) == ("image0", SHAPE)
    assert backend.input.dtype == backend.outputs[0].dtype == np.float32
    assert [output.shape for output in backend.outputs] == [SHAPE]


@BOTH
def test_results_stay_what_they_were_when_the_model_runs_again(write: Write, tmp_path: Path) -> None:
    backend = opened(write, tmp_path)
    (first,) = run_once(backend, picture(1))
    kept = first.copy()
    run_once(backend, picture(2))
    np.testing.assert_array_equal(first, kept)


@BOTH
def test_a_float_file_on_the_cpu_counts_every_op(write: Write, tmp_path: Path) -> None:
    info = opened(write, tmp_path, RuntimeOptions(threads=2, delegates=("cpu",))).info
    assert (info.ops_total, info.ops_on_cpu, info.threads) == (OPS, OPS, 2)
    assert info.version.count(".") >= 1


def test_litert_without_a_delegate_says_none_and_xnnpack_takes_all(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "model")
    assert LiteRtBackend(path, 1, "cpu").info.delegate_used == "none"
    info = LiteRtBackend(path, 1, "xnnpack").info
    assert (info.delegate_used, info.ops_total, info.ops_on_cpu) == ("xnnpack", OPS, 0)


@BOTH
def test_a_model_with_two_inputs_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 2 inputs"):
        open_backend(write(tmp_path / "model", inputs=2))


@pytest.mark.parametrize("batch", ["N", None], ids=["a name", "nothing"])
def test_an_open_batch_is_fixed_at_one_in_onnx(tmp_path: Path, batch: str | None) -> None:
    backend = open_backend(write_onnx(tmp_path / "model", shape=(batch, *SHAPE[1:])))
    assert backend.input.shape == backend.outputs[0].shape == SHAPE


def test_an_open_batch_is_fixed_at_one_in_tflite(tmp_path: Path) -> None:
    backend = open_backend(write_tflite(tmp_path / "model", signature=(-1, *SHAPE[1:])))
    assert backend.input.shape == backend.outputs[0].shape == SHAPE
    np.testing.assert_allclose(run_once(backend, picture())[0], expected_output(picture()), atol=1e-5)


@pytest.mark.parametrize(
    ("write", "size"),
    [(write_tflite, {"signature": (1, -1, -1, 3)}), (write_onnx, {"shape": (1, "h", "w", 3)})],
    ids=["litert", "onnxruntime"],
)
def test_an_open_picture_size_is_refused(write: Write, size: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="dynamic input shape"):
        open_backend(write(tmp_path / "model", **size))


def test_an_element_type_that_no_picture_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tensor\(double\)"):
        open_backend(write_onnx(tmp_path / "model", element_type=TensorProto.DOUBLE))


@BOTH
def test_a_damaged_file_is_refused_and_nothing_is_printed(
    write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "model")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError):
        open_backend(path)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("delegates", [("tensorrt",), ("tensorrt", "cuda")])
def test_an_execution_provider_that_is_not_installed_is_refused(
    tmp_path: Path, delegates: tuple[str, ...]
) -> None:
    assert "TensorrtExecutionProvider" not in onnxruntime.get_available_providers()
    with pytest.raises(DeviceError, match="TensorrtExecutionProvider"):
        opened(write_onnx, tmp_path, RuntimeOptions(delegates=delegates))


@pytest.mark.parametrize("profile", ["raspberrypi", "coral"])
def test_an_onnx_file_under_a_profile_of_litert_is_refused_in_plain_words(
    tmp_path: Path, profile: str
) -> None:
    with pytest.raises(DeviceError, match="no delegate"):
        opened(write_onnx, tmp_path, RuntimeOptions.for_device(find_profile(profile).runtime))


@pytest.mark.parametrize(
    ("library", "message"),
    [("libmissing-delegate.so.1", "cannot be loaded"), (None, "names none")],
    ids=["the library is missing", "no library is named"],
)
def test_an_external_delegate_that_is_missing_is_refused(
    tmp_path: Path, library: str | None, message: str
) -> None:
    with pytest.raises(DeviceError, match=message):
        opened(write_tflite, tmp_path, RuntimeOptions(1, ("edgetpu",), library))


# A delegate of LiteRT's C interface that loads well and takes no op.
IDLE_DELEGATE = """
#include <stdint.h>
#include <stdlib.h>
struct Delegate {
  void *data; int (*prepare)(void *, struct Delegate *); void *copy_from, *copy_to, *release;
  int64_t flags; void *builder;
};
static int prepare(void *context, struct Delegate *delegate) { return 0; }
struct Delegate *tflite_plugin_create_delegate(char **k, char **v, size_t n, void (*report)(const char *)) {
  struct Delegate *made = calloc(1, sizeof *made);
  made->prepare = prepare;
  return made;
}
void tflite_plugin_destroy_delegate(struct Delegate *made) { free(made); }
"""


@pytest.mark.skipif(which("cc") is None, reason="needs a C compiler")
def test_an_external_delegate_that_takes_nothing_is_refused_though_xnnpack_could(tmp_path: Path) -> None:
    (tmp_path / "idle.c").write_text(IDLE_DELEGATE)
    library = tmp_path / "libidle.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "idle.c"], check=True)
    with pytest.raises(DeviceError, match=f"took none of the {OPS} ops"):
        opened(write_tflite, tmp_path, RuntimeOptions(1, ("edgetpu",), str(library)))


def test_an_older_onnxruntime_gives_the_same_counts_from_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_onnx(tmp_path / "model")
    told = OnnxRuntimeBackend(path, 1).info
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    teller = "get_provider_graph_assignment_info"
    monkeypatch.delattr(next(c for c in onnxruntime.InferenceSession.__mro__ if teller in vars(c)), teller)
    older = OnnxRuntimeBackend(path, 1)
    assert older.info == told
    np.testing.assert_allclose(run_once(older, picture())[0], expected_output(picture()), atol=1e-5)
    assert [item.name for item in tmp_path.iterdir()] == ["model"], "the profile is removed"


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n" + bytes(64)], ids=["keras_h5"])
def test_a_format_without_a_runtime_says_how_to_convert(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.h5").write_bytes(content)
    with pytest.raises(ConfigError, match="keras_h5") as refused:
        open_backend(tmp_path / "model.h5")
    assert "edgepose convert" in refused.value.hint
