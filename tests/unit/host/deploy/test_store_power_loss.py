"""What a device's store keeps of a deployment when power and the kernel's cache are lost, after each call."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepose.host.deploy.ssh.remote.store import Store, serve
from tests.support.power_loss import CachedDisk, End, cached_disk

CONTENT = b"a wheel's bytes" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ENDS: tuple[End, ...] = ("lazy", "eager")


def wheel() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("package/__init__.py", "import this\n")
        stream.writestr("package/inner/data.txt", "x" * 5000)
    return archive.getvalue()


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def lefts(base: Path, scratch: Path, act: Callable[[], object]) -> dict[End, list[dict[str, bytes]]]:
    """The files left after each call of an action; the last entry is what is left when it has ended."""
    seen: dict[End, list[dict[str, bytes]]] = {end: [] for end in ENDS}

    def cut(disk: CachedDisk, _name: str) -> None:
        for end in ENDS:
            left = disk.left(end, scratch / f"{end}{len(seen[end])}")
            seen[end].append(files_of(left) if left.is_dir() else {})

    scratch.mkdir()
    with cached_disk(base, cut):
        act()
    return seen


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Path:
    return tmp_path / "base"


def store_of(base: Path) -> Store:
    store = Store(str(base))
    store.prepare()
    return store


def put(store: Store, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    store.put({"sha256": digest, "size": len(content)}, io.BytesIO(content))
    return digest


def assert_whole_or_absent(seen: dict[End, list[dict[str, bytes]]], expected: dict[str, bytes]) -> None:
    for end in ENDS:
        for files in seen[end]:
            whole = {name: content for name, content in files.items() if ".part" not in name}
            assert whole in ({}, expected) or set(expected) > set(whole), end
            assert all(content == expected[name] for name, content in whole.items()), end
        assert expected.items() <= seen[end][-1].items(), end


def test_a_file_that_was_taken_is_on_the_disk_and_never_half(base: Path, tmp_path: Path) -> None:
    seen = lefts(base, tmp_path / "cut", lambda: put(store_of(base), CONTENT))
    assert_whole_or_absent(seen, {f"blobs/{DIGEST}": CONTENT})


def test_an_unpacked_folder_is_on_the_disk_and_never_half(base: Path, tmp_path: Path) -> None:
    content = wheel()
    digest = put(store_of(base), content)
    request = {"to": "runtimes/one", "blobs": [digest]}
    seen = lefts(base, tmp_path / "cut", lambda: Store(str(base)).unpack(request))
    expected = {
        f"blobs/{digest}": content,
        "runtimes/one/package/__init__.py": b"import this\n",
        "runtimes/one/package/inner/data.txt": b"x" * 5000,
    }
    for end in ENDS:
        for files in seen[end]:
            unpacked = {name for name in files if name.startswith("runtimes/one/")}
            assert len(unpacked) in {0, 2}, end
            assert all(files[name] == expected[name] for name in unpacked), end
        assert seen[end][-1] == expected, end


def test_a_small_file_is_on_the_disk_and_the_old_one_until_then(base: Path, tmp_path: Path) -> None:
    store = store_of(base)
    store.write({"to": "code/run.sh", "text": "old", "mode": 0o755})
    request = {"to": "code/run.sh", "text": "new", "mode": 0o755}
    seen = lefts(base, tmp_path / "cut", lambda: store.write(request))
    for end in ENDS:
        told = [files["code/run.sh"] for files in seen[end]]
        assert told == sorted(told, reverse=True)
        assert told[-1] == b"new"


def test_a_bundle_that_is_put_together_is_never_half(base: Path, tmp_path: Path) -> None:
    store = store_of(base)
    digest = put(store, CONTENT)
    whole = b"head" + CONTENT
    request = {
        "to": "incoming/model.epb",
        "segments": [{"inline": "aGVhZA=="}, {"sha256": digest}],
        "sha256": hashlib.sha256(whole).hexdigest(),
    }
    seen = lefts(base, tmp_path / "cut", lambda: store.assemble(request))
    for end in ENDS:
        assert all(files.get("incoming/model.epb", whole) == whole for files in seen[end])
    assert (base / "incoming" / "model.epb").read_bytes() == whole


def test_a_whole_deployment_of_requests_is_on_the_disk_at_its_end(base: Path, tmp_path: Path) -> None:
    requests = io.BytesIO(
        b'{"op": "put", "sha256": "%s", "size": %d}\n' % (DIGEST.encode(), len(CONTENT))
        + CONTENT
        + b'{"op": "write", "to": "code/a", "text": "b", "mode": 420}\n'
    )
    answers: list[object] = []
    seen = lefts(base, tmp_path / "cut", lambda: serve(str(base), requests, answers.append))
    assert len(answers) == 2
    for end in ENDS:
        assert seen[end][-1].items() >= {f"blobs/{DIGEST}": CONTENT, "code/a": b"b"}.items(), end
