"""The network, its loss, its optimizer and the weights that it starts from, in Keras 3.

Nothing here names TensorFlow or JAX but ``configure_backend``; the batches come as numpy arrays. Behind the
``Backend`` interface the network is watched on the shipping pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgepose.errors import ConfigError, ModelError
from edgepose.host.distill.batches import Batch
from edgepose.host.distill.peers import undistributed
from edgepose.host.distill.request import DistillationRequest
from edgepose.host.distill.students import INPUT_OFFSET, STUDENT_SKELETON, StudentDesign, build_student
from edgepose.host.models.keras_intake import read_arrays, run_keras
from edgepose.runtime.backend import BackendInfo, Tensor, TensorInfo
from edgepose.runtime.model_file import detect_format


def weights_of(path: Path) -> list[NDArray[np.generic]]:
    """All weights of a ``model.keras`` that ``edgepose distill`` wrote; its input size does not matter.

    Raises:
        ConfigError: The file is not there.
        ModelError: It is no Keras 3 model, or one that brings code of its own.
    """
    if detect_format(path) != "keras":
        raise ModelError(f"{path} is no .keras file.", "--start takes the model.keras of an earlier run.")
    try:
        with TemporaryDirectory(prefix="edgepose-") as folder:
            stored = Path(folder) / "weights.npz"
            run_keras("weights", path, outputs=(stored,))
            return list(read_arrays(stored, path.name).values())
    except ModelError as problem:
        first = str(problem).strip().splitlines()[0]
        raise ModelError(
            f"Keras cannot read {path}: {first}", "--start takes the model.keras of an earlier run."
        ) from problem


def require_same_network(
    found: list[NDArray[np.generic]], expected: list[NDArray[np.generic]], path: Path
) -> None:
    """Refuses weights of another network.

    Raises:
        ModelError: Number or shapes differ.
    """
    shapes, wanted = [array.shape for array in found], [array.shape for array in expected]
    if shapes != wanted:
        raise ModelError(
            f"{path} holds another network: {len(shapes)} arrays of {_count(found)} numbers, expected "
            f"{len(wanted)} of {_count(expected)}.",
            "--start takes the model.keras of the same --student.",
        )


def _count(arrays: list[NDArray[np.generic]]) -> int:
    return sum(array.size for array in arrays)


_CLIP_NORM = 5.0
_SHARPNESS = 10.0


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW with a running average of the weights."""

    peak_rate: float = 2e-3
    weight_decay: float = 0.01
    average: float = 0.998


def configure_backend(seed: int, threads: int | None) -> str:
    """Seeds Keras, limits the CPU threads, and says which dtype policy the machine calls for.

    Returns:
        ``mixed_bfloat16`` where Keras sees a GPU or TPU, else ``float32``.
    """
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        try:
            if threads is not None:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            tf.config.experimental.enable_op_determinism()
        except RuntimeError as problem:
            # TensorFlow takes thread counts only before its first op.
            if threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != threads:
                raise ConfigError(f"TensorFlow is running already: {problem}.") from problem
    # Asked for a kind that is not there, JAX raises; unasked, both backends list what they would use.
    on_cpu = all(device.startswith("cpu") for device in keras.distribution.list_devices())
    return "float32" if on_cpu else "mixed_bfloat16"


def heatmap_loss(packed: Any, maps: Any) -> Any:
    """How far maps are from their targets, in height and in place.

    The squared error alone starts on a plateau, where every map is the blurred mean pose. Therefore the
    divergence between both maps as distributions over the cells, softmax(10 z), is added (Kullback and
    Leibler 1951; the temperature makes a peak of height 1 stand out of a thousand cells). It has its
    minimum at the same maps.

    Args:
        packed: (N, 1 + h * w, K): row 0 the weights, the others the target maps.
        maps: (N, h, w, K) of the student.

    Returns:
        A scalar: summed over each map, averaged over what is known. A keypoint of weight 0 adds nothing to
        it nor to its gradient.
    """
    weights, targets = packed[:, 0], packed[:, 1:]
    answers = ops.reshape(ops.cast(maps, "float32"), ops.shape(targets))
    height = ops.sum(ops.square(answers - targets), axis=1)
    wanted = ops.log_softmax(_SHARPNESS * targets, axis=1)
    given = ops.log_softmax(_SHARPNESS * answers, axis=1)
    place = ops.sum(ops.exp(wanted) * (wanted - given), axis=1)
    known = ops.maximum(ops.sum(weights), 1.0)
    return ops.sum((height + place) * weights) / known


class Trainer:
    """One student under training.

    ``dtype`` is a Keras dtype policy and ``zero_level`` the grey level that is 0 to the network. By default
    ``build`` makes the design's own network and ``loss`` is ``heatmap_loss``.
    """

    def __init__(
        self,
        design: StudentDesign,
        settings: OptimizerSettings,
        dtype: str = "float32",
        build: Callable[[str], Any] | None = None,
        zero_level: float = INPUT_OFFSET,
        loss: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self._build = build or partial(build_student, design, STUDENT_SKELETON.keypoint_count)
        self._student = self._build(dtype)
        self._model = _with_raw_pictures(self._student, design, zero_level)
        self._optimizer = keras.optimizers.AdamW(
            settings.peak_rate,
            weight_decay=settings.weight_decay,
            global_clipnorm=_CLIP_NORM,
            use_ema=True,
            ema_momentum=settings.average,
        )
        self._optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        # XLA's convolutions on a CPU are slower than oneDNN's; JAX compiles in any case.
        on_cpu = dtype == "float32" and keras.backend.backend() == "tensorflow"
        self._model.compile(self._optimizer, loss or heatmap_loss, jit_compile=False if on_cpu else "auto")
        self._optimizer.build(self._model.trainable_variables)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return int(self._student.count_params())

    def start_from(self, path: Path) -> None:
        """Takes the weights of an earlier student of the same network.

        Raises:
            ModelError: The file is damaged or holds another network.
        """
        found = weights_of(path)
        require_same_network(found, self._student.get_weights(), path)
        self._student.set_weights(found)

    def step(self, batch: Batch, rate: float) -> float:
        """One step of training.

        Raises:
            ModelError: The loss is not finite any more.
        """
        self._optimizer.learning_rate = rate
        loss = float(self._model.train_on_batch(batch.pictures, batch.targets))
        if not np.isfinite(loss):
            raise ModelError(
                f"The loss became {loss}; training cannot go on.", "Lower --learning-rate and start anew."
            )
        return loss

    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """All state, in a fixed order: network, then optimizer with its running averages."""
        return tuple(ops.convert_to_numpy(variable) for variable in self._variables())

    def restore(self, arrays: Sequence[NDArray[np.generic]]) -> None:
        """Puts back what ``arrays`` gave.

        Raises:
            ConfigError: They are another network's.
        """
        variables = self._variables()
        shapes = [tuple(variable.shape) for variable in variables]
        if [array.shape for array in arrays] != shapes:
            raise ConfigError("The checkpoint holds another network than this version of edgepose builds.")
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)

    def averaged_student(self) -> Any:
        """A float32 student with the running averages of the weights, for evaluation and export."""
        trained = self._student.trainable_variables
        kept = [ops.convert_to_numpy(variable) for variable in trained]
        self._optimizer.finalize_variable_values(trained)
        with undistributed():
            averaged = self._build("float32")
            averaged.set_weights([ops.convert_to_numpy(variable) for variable in self._student.weights])
        for variable, array in zip(trained, kept, strict=True):
            variable.assign(array)
        return averaged

    def _variables(self) -> list[Any]:
        return [*self._student.variables, *self._optimizer.variables]


def requested_trainer(
    request: DistillationRequest,
    design: StudentDesign,
    build: Callable[[str], Any] | None = None,
    loss: Callable[[Any, Any], Any] | None = None,
) -> tuple[Trainer, str]:
    """The trainer of a distillation, with the weights that it starts from, and its dtype policy.

    Raises:
        ConfigError: TensorFlow is running already, with other threads.
        ModelError: The weights are damaged or another network's.
    """
    precision = configure_backend(request.seed, request.threads)
    settings = OptimizerSettings(peak_rate=request.learning_rate)
    trainer = Trainer(design, settings, precision, build, loss=loss)
    if request.start is not None:
        trainer.start_from(request.start)
    return trainer, precision


def _with_raw_pictures(student: Any, design: StudentDesign, zero_level: float) -> Any:
    """The student behind the normalization of its spec, so that batches travel as bytes."""
    width, height = design.input_wh
    raw = keras.Input((height, width, 3), dtype="uint8")
    offset = -zero_level / INPUT_OFFSET
    normalized = keras.layers.Rescaling(1 / INPUT_OFFSET, offset=offset, dtype="float32")(raw)
    return keras.Model(raw, student(normalized))


class KerasBackend:
    """Runs a Keras model with one image and one output."""

    def __init__(self, model: Any, output_name: str = "heatmaps") -> None:
        self._model = model
        float32 = np.dtype(np.float32)
        self._input = TensorInfo("image", (1, *model.input_shape[1:]), float32)
        self._output = TensorInfo(output_name, (1, *model.output_shape[1:]), float32)
        self._values = np.zeros(self._input.shape, np.float32)
        self._result: Tensor = np.zeros(self._output.shape, np.float32)

    @property
    def info(self) -> BackendInfo:
        """See ``Backend``."""
        return BackendInfo(f"keras-{keras.backend.backend()}", keras.__version__, "none", 0, 0, 0)

    @property
    def input(self) -> TensorInfo:
        """See ``Backend``."""
        return self._input

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """See ``Backend``."""
        return (self._output,)

    def load_input(self, write: Callable[[Tensor], None]) -> None:
        """See ``Backend``."""
        write(self._values)

    def invoke(self) -> None:
        """See ``Backend``."""
        self._result = np.array(self._model.predict_on_batch(self._values), dtype=np.float32)

    def read_outputs(self) -> tuple[Tensor, ...]:
        """See ``Backend``."""
        return (self._result.copy(),)
