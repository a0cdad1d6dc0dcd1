"""Everything that edgepose writes goes through one writer, or stands here with its reason (ADR 0040)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).resolve().parents[2] / "edgepose"
_ONE_WRITER = "records/files.py"
_PRIVATE = "inside a TemporaryDirectory, which is 0700 and has a name that nobody can foresee"
# What writes otherwise, and why that is safe.
_EXCEPTIONS = {
    "device/capture/supervised/supervisor.py": "a descriptor that is passed on",
    "device/capture/supervised/shared_images.py": "pipes and memory in the runtime folder that systemd made",
    "device/capture/supervised/shared_camera.py": "pipes and memory in the runtime folder that systemd made",
    "device/install/health_process.py": "a descriptor that is passed on",
    "device/install/state_file.py": "the lock file: empty, 0600, no link is followed",
    "device/install/owner.py": "copies below a folder that is this user's by then; O_EXCL",
    "device/install/slot_files.py": "a new folder of a slot; what is there already is refused (x)",
    "device/output/video_sink.py": _PRIVATE,
    "device/sandbox/": "descriptors that are passed on, and what tries whether it still could write",
    "device/monitor/schema.py": "SQLite in memory: the tables as each version has them",
    "device/monitor/store.py": "SQLite's file: 0600 before SQLite sees it, no link is followed",
    "device/monitor/reading.py": "SQLite's own file",
    "device/monitor/recorder.py": "lock and Prometheus file: 0640 for who scrapes, through no link; SQLite's",
    "host/convert/direct/onnx_import.py": _PRIVATE,
    "host/convert/onnx2tf_driver.py": _PRIVATE,
    "host/convert/routes.py": _PRIVATE,
    "host/convert/conversion.py": _PRIVATE,
    "host/deploy/fleet/rollout.py": "a descriptor of the one writer",
    "host/deploy/phone/app_folder.py": "a folder for an app: built in a private one, then readable by all",
    "host/deploy/ssh/remote/store.py": "Python 3.8 without edgepose; its new_file does the same",
    "host/deploy/ssh/remote_host.py": _PRIVATE,
    "host/distill/detector_images.py": "a cache in a folder of mode 0700",
    "host/distill/checkpoints.py": "bytes in memory, which the one writer takes",
    "host/distill/export.py": _PRIVATE,
    "host/distill/training.py": "a descriptor of the one writer",
    "host/distill/fine_tuning.py": _PRIVATE,
    "host/distill/sample_cache.py": "a cache in a folder of mode 0700",
    "host/distill/supervisor.py": "a descriptor of the one writer",
    "host/keys/key_home.py": "the lock file of a folder of mode 0700",
    "host/keys/repository.py": "new files of mode 0600 in a folder of mode 0700; O_EXCL",
    "host/quantize/delegates/edgetpu.py": _PRIVATE,
    "host/quantize/diagnosis/sensitivity.py": _PRIVATE,
    "host/quantize/onnx_quantizer.py": _PRIVATE,
    "host/quantize/quantization.py": _PRIVATE,
    "host/quantize/repair/float_model.py": _PRIVATE,
    "host/quantize/repair/apply_recipe.py": _PRIVATE,
    "host/models/keras_intake.py": _PRIVATE,
    "host/models/keras_worker.py": _PRIVATE,
    "host/models/locked_loader.py": _PRIVATE,
    "host/synthetic/clip.py": _PRIVATE,
    "host/tools/installation.py": "the side environment of a tool in the user's own cache",
    "runtime/backends/litert_backend.py": "/dev/null",
    "runtime/bundle_model.py": _PRIVATE,
}
_WRITERS = {"write_bytes", "write_text", "touch", "imwrite", "VideoWriter", "mkstemp", "NamedTemporaryFile"}
_WRITERS |= {"copyfile", "copy", "copy2", "copytree", "savez", "save_model", "open_memmap", "tofile"}


def writes_in(source: str) -> list[int]:
    """Lines with a call that may make or fill a file."""
    return [
        node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and _writes(node)
    ]


def _writes(call: ast.Call) -> bool:
    target = call.func
    name = (
        target.attr
        if isinstance(target, ast.Attribute)
        else target.id
        if isinstance(target, ast.Name)
        else ""
    )
    owner = (
        target.value.id if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) else ""
    )
    if owner == "os":
        flags = "".join(ast.unparse(argument) for argument in call.args)
        return name == "open" and any(flag in flags for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    if name in ("copy", "copyfile", "copy2", "copytree"):
        return owner == "shutil"
    if owner == "sqlite3":
        return name == "connect"
    if name == "save":
        return owner in ("np", "onnx", "student")
    if name == "open":
        words = [*call.args, *(keyword.value for keyword in call.keywords)]
        return any(_is_writing_mode(word) for word in words)
    return name in _WRITERS


def _is_writing_mode(word: ast.expr) -> bool:
    return (
        isinstance(word, ast.Constant)
        and isinstance(word.value, str)
        and 0 < len(word.value) <= 3
        and set(word.value) <= set("rwaxbt+")
        and bool(set(word.value) & set("wax+"))
    )


def test_every_file_is_written_by_the_one_writer_or_for_a_reason_that_stands_here() -> None:
    found = {
        path.relative_to(_PACKAGE).as_posix(): writes_in(path.read_text(encoding="utf-8"))
        for path in _PACKAGE.rglob("*.py")
    }
    writing = {name: lines for name, lines in found.items() if lines and name != _ONE_WRITER}
    assert {name: lines for name, lines in writing.items() if not name.startswith(tuple(_EXCEPTIONS))} == {}
    assert {start for start in _EXCEPTIONS if not any(name.startswith(start) for name in found)} == set()


@pytest.mark.parametrize(
    "call",
    [
        'open(path, "w")',
        'path.open("ab")',
        'path.open(mode="xb")',
        'open(path, "r+b")',
        "path.write_text(text)",
        "os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)",
        "cv2.VideoWriter(name, 0, 0, 1, size)",
        "cv2.imwrite(name, picture)",
        "shutil.copyfile(a, b)",
        "sqlite3.connect(path)",
        "np.save(path, array)",
    ],
)
def test_the_search_finds_what_writes(call: str) -> None:
    assert writes_in(call)


@pytest.mark.parametrize(
    "call", ["path.open()", 'path.open("rb")', "os.open(path, os.O_RDONLY)", "a.copy()", 'text.open("word")']
)
def test_the_search_leaves_what_reads_alone(call: str) -> None:
    assert not writes_in(call)


def foreseeable_names(source: str) -> list[int]:
    """Lines with a fixed ending for a temporary file, or a process number in one: a link can wait there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value.endswith((".tmp", ".new", ".part", ".tmp.mp4")):
                found.append(node.lineno)
        elif isinstance(node, ast.Call) and "getpid()" in "".join(map(ast.unparse, node.args)):
            found += [node.lineno] * ast.unparse(node.func).endswith(("with_name", "with_suffix", "joinpath"))
    return found


def test_no_temporary_name_can_be_foreseen() -> None:
    # The one writer's has 64 random bits before its ending; the store removes what is there and uses O_EXCL.
    allowed = {_ONE_WRITER, "host/deploy/ssh/remote/store.py"}
    for path in _PACKAGE.rglob("*.py"):
        if path.relative_to(_PACKAGE).as_posix() not in allowed:
            assert foreseeable_names(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "code", ['path.with_name(f".{path.name}.{os.getpid()}")', 'path.with_suffix(".tmp")', 'name + ".part"']
)
def test_the_search_finds_a_name_that_can_be_foreseen(code: str) -> None:
    assert foreseeable_names(code)
