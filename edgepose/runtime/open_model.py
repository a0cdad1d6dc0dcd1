"""Opens a model file on the runtime that its content calls for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgepose.accelerators import accelerator, accelerators
from edgepose.errors import ConfigError
from edgepose.records.device_profile import Precision, RuntimeProfile
from edgepose.records.model_spec import ModelSpec
from edgepose.runtime.backend import Backend
from edgepose.runtime.model_file import ModelFile, as_model_file
from edgepose.runtime.pipeline import PersonDetector, PosePipeline


@dataclass(frozen=True)
class RuntimeOptions:
    """How to run a model.

    Attributes:
        threads: CPU threads.
        delegates: Delegate or execution provider, best first; empty takes the runtime's CPU path
            (XNNPACK for LiteRT).
        delegate_library: Shared library of an external LiteRT delegate.
        precision: Precision of the model's arithmetic, which TensorRT must be told; None is float32.
        engine_cache: Folder in which TensorRT may keep engines; None keeps none.
        reads: Whether an output of a shape is read; LiteRT then leaves out what serves only others, which
            changes none that is read. None reads all; ONNX Runtime computes all.
    """

    threads: int = 1
    delegates: tuple[str, ...] = field(default=())
    delegate_library: str | None = None
    precision: Precision | None = None
    engine_cache: Path | None = None
    reads: Callable[[tuple[int, ...]], bool] | None = None

    @classmethod
    def for_device(
        cls, runtime: RuntimeProfile, precision: Precision | None = None, engine_cache: Path | None = None
    ) -> RuntimeOptions:
        """What the profile asks for, on the profile's own device."""
        delegates = (runtime.delegate, *runtime.fallback)
        return cls(runtime.threads, delegates, runtime.delegate_library, precision, engine_cache)

    @classmethod
    def for_detector(
        cls, runtime: RuntimeProfile, precision: Precision | None = None, engine_cache: Path | None = None
    ) -> RuntimeOptions:
        """As the pose model, but on the CPU where the accelerator takes no detector: that stays float."""
        if not accelerator(runtime.delegate).takes_detector:
            return cls(runtime.threads)
        return cls.for_device(runtime, precision, engine_cache)


def open_backend(model: Path | ModelFile, options: RuntimeOptions | None = None) -> Backend:
    """Loads a model file that its bytes show to be data: a runtime follows what it is told.

    Raises:
        ConfigError: The format cannot be run; it has to be converted first.
        MissingDependencyError: The runtime is not installed.
        ModelError: The file is damaged or unsupported.
        DeviceError: The delegate is missing or took nothing.
    """
    options = options or RuntimeOptions()
    own = accelerators().get(options.delegates[0]) if options.delegates else None
    if own is not None and own.backend:
        module, _, maker = own.backend.partition(":")
        path = model if isinstance(model, Path) else model.path
        opened: Backend = getattr(importlib.import_module(module), maker)(path, options)
        return opened
    model = as_model_file(model)
    model.check()
    if model.format == "tflite":
        from edgepose.runtime.backends.litert_backend import LiteRtBackend

        delegate = options.delegates[0] if options.delegates else "xnnpack"
        return LiteRtBackend(model.path, options.threads, delegate, options.delegate_library, options.reads)
    if model.format == "onnx":
        from edgepose.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend

        return OnnxRuntimeBackend(
            model.path,
            options.threads,
            options.delegates or ("cpu",),
            options.precision,
            options.engine_cache,
        )
    raise ConfigError(
        f"{model.path} is a {model.format} model; the runtimes here load TFLite and ONNX.",
        "Run: edgepose convert MODEL --to tflite -o OUT",
    )


def open_pipeline(
    path: Path,
    spec_file: Path | None = None,
    options: RuntimeOptions | None = None,
    score_threshold: float | None = None,
) -> PosePipeline:
    """Opens a pose model with the spec inside it, else the one in ``spec_file``.

    Raises:
        EdgeposeError: As ``load_spec``, ``open_backend`` and ``PosePipeline`` raise.
    """
    model = ModelFile(path)
    spec = require_pose_spec(model.spec(spec_file), path)
    return PosePipeline(open_backend(model, options), spec, score_threshold)


def open_detector(
    path: Path,
    spec_file: Path | None = None,
    options: RuntimeOptions | None = None,
    score_threshold: float | None = None,
) -> PersonDetector:
    """Opens a person detector.

    Raises:
        EdgeposeError: As ``load_spec``, ``open_backend`` and ``PersonDetector`` raise.
    """
    model = ModelFile(path)
    spec = model.spec(spec_file)
    return PersonDetector(open_backend(model, options), spec, score_threshold)


def load_pose_spec(path: Path, spec_file: Path | None = None) -> ModelSpec:
    """The spec of a pose model, from the file or from ``spec_file``.

    Raises:
        ModelError: The file is damaged, or its spec is.
        ConfigError: There is no spec, it is wrong, or it is a detector's.
    """
    return require_pose_spec(ModelFile(path).spec(spec_file), path)


def require_pose_spec(spec: ModelSpec, path: Path) -> ModelSpec:
    """Refuses a detector's spec where a pose model is needed.

    Raises:
        ConfigError: It is a detector's.
    """
    if spec.paradigm == "detector":
        raise ConfigError(
            f"{path.name} is a person detector, expected a pose model.", "Give it with --detector instead."
        )
    return spec
