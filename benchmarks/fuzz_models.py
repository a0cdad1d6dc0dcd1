"""Does any harmed model file crash or hang ``edgepose models inspect``, or make it write elsewhere?

Usage: python benchmarks/fuzz_models.py [--count N] [--seed S] [--framework N] [--whole N] [--output FILE]

Each mutation runs in a forked child with limits of time, memory and file size, up to a hundred in one child:

- ONNX and TFLite: the whole of ``inspect_model``.
- Keras, HDF5 and SavedModel: what stands before TensorFlow, the checks of the calling process
  (``judge_bytes``) and the first step of the process that loads the file (``take_in``: copy, judge, every
  object of HDF5).
- Of those that pass, ``--framework`` go on into TensorFlow by the functions of the loading process, in
  children of one process that has imported it.
- ``--whole`` of all Keras, HDF5 and SavedModel files run by ``inspect_model`` with its own new process.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model_mutations import harm_file

from edgepose.errors import EdgeposeError, ModelError
from edgepose.host.models.inspect import inspect_model
from edgepose.host.models.keras_intake import judge_bytes, take_in

_OUTPUT = Path(__file__).resolve().parent / "results" / "fuzz_models.json"
_BUILTIN = Path(__file__).resolve().parents[1] / "builtin_models" / "edgepose-s_int8.tflite"
_TIME_LIMIT_S, _MEMORY_LIMIT_BYTES, _FILE_LIMIT_BYTES = 60, 8 << 30, 1 << 30
_BATCH = 100
_FRAMEWORK_BATCH = 10
IN_PROCESS = ("onnx", "tflite")
# Runs apart: TensorFlow is large, and Keras 2 and 3 do not share a process well.
_WRITER = """
import keras, tensorflow as tf, tf_keras

def network(k):
    image = k.Input((32, 24, 3), name="image")
    features = k.layers.Conv2D(4, 3, 2, "same", activation="relu")(image)
    features = k.layers.BatchNormalization()(features)
    features = k.layers.Add()([features, k.layers.DepthwiseConv2D(3, padding="same")(features)])
    return image, k.layers.Conv2D(17, 1, name="heatmaps")(features)

model = keras.Model(*network(keras))
model.save("model.keras")
model.save("new.h5")
model.export("saved_model", verbose=False)
tf_keras.Model(*network(tf_keras)).save("old.h5")
converter = tf.lite.TFLiteConverter.from_saved_model("saved_model")
open("model.tflite", "wb").write(converter.convert())
"""

Subjects = dict[str, list[Path]]
Judge = Callable[[Path, Path], str]


@dataclass
class FuzzResult:
    """What became of the harmed files.

    Attributes:
        outcomes: Format to outcome to number.
        mutations: Format to mutation to number.
        unchanged: Draws that changed no byte; they are not counted.
        crashed: Format, draw and ending of children that died, and exceptions that are no ``EdgeposeError``.
        hung: Those that ran into the limit of time.
        wrote_outside: Files that appeared outside a child's own folder.
        processes_left: Draws after which a process was still there.
        passed: Format and draw of files that TensorFlow would be given.
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    mutations: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    unchanged: int = 0
    crashed: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    wrote_outside: list[str] = field(default_factory=list)
    processes_left: list[str] = field(default_factory=list)
    passed: list[tuple[str, int]] = field(default_factory=list)

    def add(self, other: dict[str, Any]) -> None:
        """Takes in what another process found."""
        for name, outcomes in other["outcomes"].items():
            self.outcomes[name].update(outcomes)
        for name, mutations in other["mutations"].items():
            self.mutations[name].update(mutations)
        self.unchanged += other["unchanged"]
        self.passed += [(name, number) for name, number in other["passed"]]
        for name in ("crashed", "hung", "wrote_outside", "processes_left"):
            getattr(self, name).extend(other[name])


def make_subjects(folder: Path, *, with_tensorflow: bool = True) -> Subjects:
    """Writes the whole models."""
    subjects: Subjects = {"onnx": [_write_onnx(folder)], "tflite": [_BUILTIN]}
    if with_tensorflow:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        call = [sys.executable, "-c", _WRITER]
        subprocess.run(call, cwd=folder, env=environment, check=True, capture_output=True)
        subjects["tflite"].append(folder / "model.tflite")
        subjects["keras"] = [folder / "model.keras"]
        subjects["keras_h5"] = [folder / "new.h5", folder / "old.h5"]
        subjects["saved_model"] = [folder / "saved_model"]
    return subjects


def _write_onnx(folder: Path) -> Path:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    weights = generator.normal(0, 0.3, (17, 3, 3, 3)).astype(np.float32)
    branch = helper.make_graph(
        [helper.make_node("Relu", ["maps"], ["chosen"])],
        "branch",
        [],
        [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1, 17, 32, 24])],
    )
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("If", ["choice"], ["joined"], then_branch=branch, else_branch=branch),
        helper.make_node("Twice", ["joined"], ["heatmaps"], domain="own"),
    ]
    twice = helper.make_function(
        "own",
        "Twice",
        ["x"],
        ["y"],
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [helper.make_opsetid("", 17)],
    )
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 24])],
        [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, [1, 17, 32, 24])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.ones((), bool), "choice")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=[twice])
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def inspected(path: Path, _folder: Path) -> str:
    """The whole function behind ``models inspect``."""
    inspect_model(path)
    return "accepted"


def judged(path: Path, folder: Path) -> str:
    """All that stands before TensorFlow."""
    judge_bytes(path)
    take_in(path, folder)
    return "passed all checks"


def loaded(path: Path, folder: Path) -> str:
    """The loading process's own functions, with TensorFlow."""
    from edgepose.host.models import keras_worker

    os.chdir(folder)
    taken = take_in(path, folder)
    try:
        keras_worker.load(taken, None)
    # TensorFlow and Keras raise anything; the loading process makes an answer of it.
    except Exception:  # noqa: BLE001
        return "passed all checks, TensorFlow refused it"
    return "passed all checks, TensorFlow loaded it"


def fuzz(subjects: Subjects, root: Path, count: int, seed: int) -> FuzzResult:
    """Tries ``count`` harmed files, the formats in turn.

    Args:
        subjects: Format to whole models.
        root: A folder of its own.
        count: How many.
        seed: With the draw's number it decides everything.
    """
    result = FuzzResult()
    formats = list(subjects)
    each = {
        name: count // len(formats) + (index < count % len(formats)) for index, name in enumerate(formats)
    }
    with tempfile.TemporaryDirectory() as answers:
        started = [
            (name, _start(subjects, root / name, name, each[name], seed, Path(answers))) for name in formats
        ]
        for name, child in started:
            os.waitpid(child, 0)
            result.add(json.loads((Path(answers) / name).read_text(encoding="utf-8")))
    return result


def _start(subjects: Subjects, root: Path, name: str, count: int, seed: int, answers: Path) -> int:
    """Fuzzes one format in a process of its own."""
    root.mkdir()
    child = os.fork()
    if child:
        return child
    result, number = FuzzResult(), 0
    judge = inspected if name in IN_PROCESS else judged
    while sum(result.outcomes[name].values()) < count:
        left = count - sum(result.outcomes[name].values())
        draws = [(name, number + step) for step in range(min(_BATCH, left))]
        number += len(draws)
        run_batch(judge, subjects, draws, seed, root, result)
    (answers / name).write_text(json.dumps(vars(result)), encoding="utf-8")
    os._exit(0)


def run_batch(
    judge: Judge,
    subjects: Subjects,
    draws: Sequence[tuple[str, int]],
    seed: int,
    root: Path,
    result: FuzzResult,
) -> None:
    """Runs draws in one forked child, and goes on in a new one behind a draw that killed it."""
    pending = list(draws)
    while pending:
        before = _files(root)
        work = Path(tempfile.mkdtemp(prefix="work-", dir=root))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _child(judge, subjects, pending, seed, work, writer)
        os.close(writer)
        with os.fdopen(reader) as stream:
            lines = [json.loads(line) for line in stream]
        status = os.waitpid(child, 0)[1]
        _note(lines, result)
        done = len(lines)
        if done < len(pending):
            name, number = pending[done]
            ending = (
                f"{name} {seed}:{number}: {signal.Signals(os.WTERMSIG(status)).name if status else 'gone'}"
            )
            result.outcomes[name]["ended by a signal"] += 1
            (result.hung if "SIGALRM" in ending else result.crashed).append(ending)
            done += 1
        if _is_alive(child):
            result.processes_left.append(f"{pending[0]} {seed}")
        shutil.rmtree(work)
        result.wrote_outside += sorted(_files(root) - before)
        pending = pending[done:]


def _child(
    judge: Judge, subjects: Subjects, draws: Sequence[tuple[str, int]], seed: int, work: Path, writer: int
) -> None:
    """Never returns."""
    os.setsid()
    faulthandler.disable()
    # A handler in Python would wait for a library that goes round in circles.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_LIMIT_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_LIMIT_BYTES,) * 2)
    os.environ["TMPDIR"] = os.environ["HOME"] = str(work)
    tempfile.tempdir = str(work)
    for name, number in draws:
        folder = work / str(number)
        folder.mkdir()
        line = _try(judge, subjects[name], (name, number), seed, folder)
        os.write(writer, (json.dumps(line) + "\n").encode())
        shutil.rmtree(folder)
    os._exit(0)


def _try(judge: Judge, models: list[Path], draw: tuple[str, int], seed: int, folder: Path) -> list[Any]:
    name, number = draw
    generator = random.Random(f"{seed}:{name}:{number}")  # noqa: S311 - each draw can be repeated alone
    model = generator.choice(models)
    mutation, differs = harm_file(generator, model, folder / model.name)
    own = folder / "own"
    own.mkdir()
    signal.alarm(_TIME_LIMIT_S)
    try:
        outcome = judge(folder / model.name, own)
    except ModelError as problem:
        outcome = f"ModelError: {kind_of(problem.message)}"
    except EdgeposeError as problem:
        outcome = type(problem).__name__
    # Whatever else comes out is what is looked for.
    except BaseException as problem:  # noqa: BLE001
        outcome = f"traceback {problem!r}"[:200]
    signal.alarm(0)
    return [name, number, mutation, differs, outcome]


def kind_of(message: str) -> str:
    """The kind of a refusal, told from its sentence."""
    if any(words in message for words in ("not among", "not allow", "not part of Keras", "not a class")):
        return "name not on the list"
    if any(
        words in message
        for words in ("damaged", "truncated", "is no ", "no model that", "is empty", "not a valid")
    ):
        return "damaged"
    return "out of bounds"


def _note(lines: list[Any], result: FuzzResult) -> None:
    for name, number, mutation, differs, ending in lines:
        if not differs:
            result.unchanged += 1
            continue
        outcome = ending.split()[0] if ending.startswith("traceback") else ending
        if outcome == "traceback":
            result.crashed.append(f"{name} {number}: {ending}")
        if outcome == "passed all checks":
            result.passed.append((name, number))
        result.outcomes[name][outcome] += 1
        result.mutations[name][mutation] += 1


def _files(root: Path) -> set[str]:
    return {str(path) for path in root.rglob("*")}


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def framework_sample(
    subjects: Subjects, root: Path, result: FuzzResult, count: int, seed: int
) -> tuple[dict[str, Counter[str]], FuzzResult]:
    """Gives ``count`` of the files that passed to TensorFlow, evenly over the formats."""
    chosen: list[tuple[str, int]] = []
    generator = random.Random(seed)  # noqa: S311
    formats = sorted({name for name, _ in result.passed})
    for name in formats:
        draws = [draw for draw in result.passed if draw[0] == name]
        chosen += generator.sample(draws, min(len(draws), count // len(formats)))
    keras_worker: Any = importlib.import_module("edgepose.host.models.keras_worker")
    keras_worker.tf = importlib.import_module("tensorflow")
    for package in ("keras", "tf_keras"):
        importlib.import_module(package)
    found = FuzzResult()
    for batch in _batches(chosen, _FRAMEWORK_BATCH):
        run_batch(loaded, subjects, batch, seed, root, found)
    return found.outcomes, found


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def whole_sample(subjects: Subjects, root: Path, count: int, seed: int) -> FuzzResult:
    """Runs new draws by ``inspect_model``, each with its own new loading process."""
    found = FuzzResult()
    formats = [name for name in subjects if name not in IN_PROCESS]
    for number in range(count):
        run_batch(
            inspected, subjects, [(formats[number % len(formats)], 1_000_000 + number)], seed, root, found
        )
    return found


def main() -> None:
    """Runs the fuzz, writes the record, and ends with 1 when anything got past."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--framework", type=int, default=240)
    parser.add_argument("--whole", type=int, default=12)
    parser.add_argument("--output", type=Path, default=_OUTPUT)
    options = parser.parse_args()
    start_ns = time.monotonic_ns()
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", KERAS_BACKEND="tensorflow")
    with tempfile.TemporaryDirectory() as name:
        models, root = Path(name) / "models", Path(name) / "root"
        models.mkdir()
        root.mkdir()
        subjects = make_subjects(models)
        result = fuzz(subjects, root, options.count, options.seed)
        whole = whole_sample(subjects, root, options.whole, options.seed)
        framework, framework_result = framework_sample(
            subjects, root, result, options.framework, options.seed
        )
    parts = (result, whole, framework_result)
    record: dict[str, Any] = {
        "schema": "edgepose.fuzz/1",
        "name": "fuzz_models",
        "seed": options.seed,
        "mutated": sum(sum(outcomes.values()) for outcomes in result.outcomes.values()),
        "by_format": {name: dict(sorted(outcomes.items())) for name, outcomes in result.outcomes.items()},
        "by_mutation": {name: dict(sorted(found.items())) for name, found in result.mutations.items()},
        "how": {
            "onnx, tflite": "inspect_model whole, up to 100 files in one forked child",
            "keras, keras_h5, saved_model": "judge_bytes and take_in, all that stands before TensorFlow",
            "into_tensorflow": "a sample of those that passed, in children of one process with TensorFlow",
            "whole_path": "inspect_model whole with its own new process, further draws",
        },
        "into_tensorflow": {name: dict(sorted(outcomes.items())) for name, outcomes in framework.items()},
        "whole_path": {name: dict(sorted(outcomes.items())) for name, outcomes in whole.outcomes.items()},
        "draws_that_changed_nothing": result.unchanged,
        "crashed": [line for part in (result, whole) for line in part.crashed],
        "tensorflow_children_crashed": framework_result.crashed,
        "hung": [line for part in parts for line in part.hung],
        "wrote_outside": [line for part in parts for line in part.wrote_outside],
        "processes_left": [line for part in parts for line in part.processes_left],
        "limits": {
            "seconds": _TIME_LIMIT_S,
            "memory_bytes": _MEMORY_LIMIT_BYTES,
            "file_bytes": _FILE_LIMIT_BYTES,
        },
        "seconds": round((time.monotonic_ns() - start_ns) / 1e9, 1),
        "versions": {name: version(name) for name in ("onnx", "h5py", "keras", "tf_keras", "tensorflow")},
        "command": f"python benchmarks/fuzz_models.py --count {options.count} --seed {options.seed} "
        f"--framework {options.framework} --whole {options.whole}",
    }
    with suppress(FileNotFoundError):
        options.output.unlink()
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))
    failed = ("crashed", "hung", "wrote_outside", "processes_left")
    sys.exit(any(record[key] for key in failed))


if __name__ == "__main__":
    main()
