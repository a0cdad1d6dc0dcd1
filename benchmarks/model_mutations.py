"""Ways to harm a model file: bytes anywhere, and values inside containers that have checksums."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Mutation = Callable[[random.Random, bytes], bytes]

_WORDS = (0, 1, 2, 4, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_NAMES = (
    "Lambda", "TFOpLambda", "StringLookup", "TFSMLayer", "Dense", "Conv2D", "Add", "function", "__lambda__",
    "TimeDistributed", "Sequential", "__numpy__", "evil", "",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1 << 31,
    1 << 63,
    -(1 << 63),
    1e308,
    "relu",
    "exec",
    "\x1b[31m",
    [],
    {},
    "x" * 5000,
)


def flip_bytes(generator: random.Random, data: bytes) -> bytes:
    """One, four or thirty-two bytes become others."""
    harmed = bytearray(data)
    for _ in range(generator.choice((1, 4, 32))):
        harmed[generator.randrange(len(harmed))] = generator.randrange(256)
    return bytes(harmed)


def set_words(generator: random.Random, data: bytes) -> bytes:
    """Aligned words become extremes, or places in the file."""
    harmed = bytearray(data)
    for _ in range(generator.choice((1, 3))):
        at = generator.randrange(len(data) - 8) & ~3
        value = generator.choice((*_WORDS, generator.randrange(len(data)), generator.getrandbits(32)))
        struct.pack_into("<I", harmed, at, value)
    return bytes(harmed)


def set_words_at_the_ends(generator: random.Random, data: bytes) -> bytes:
    """As ``set_words`` in the first and last kilobytes, where formats keep their tables."""
    reach = min(4096, len(data) - 8)
    at = generator.randrange(reach)
    if generator.random() < 0.5:
        at = len(data) - 8 - at
    value = generator.choice((*_WORDS, generator.randrange(len(data)), generator.getrandbits(32)))
    harmed = bytearray(data)
    struct.pack_into("<I", harmed, at & ~3, value)
    return bytes(harmed)


def cut(generator: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: generator.randrange(len(data))]


def copy_within(generator: random.Random, data: bytes) -> bytes:
    """A piece lies over another."""
    size = generator.choice((4, 16, 64, 256))
    source, target = (generator.randrange(max(len(data) - size, 1)) for _ in range(2))
    return data[:target] + data[source : source + size] + data[target + size :]


def insert_or_delete(generator: random.Random, data: bytes) -> bytes:
    """Everything behind one place moves."""
    at, size = generator.randrange(len(data)), generator.choice((1, 4, 32))
    if generator.random() < 0.5:
        return data[:at] + generator.randbytes(size) + data[at:]
    return data[:at] + data[at + size :]


BYTES: tuple[Mutation, ...] = (
    flip_bytes, set_words, set_words_at_the_ends, cut, copy_within, insert_or_delete,
)  # fmt: skip


def harm_json(generator: random.Random, text: bytes) -> bytes:
    """One value of a configuration becomes another, or a key goes."""
    config = json.loads(text)
    places = list(_places(config))
    for _ in range(generator.choice((1, 1, 3))):
        owner, key = generator.choice(places)
        if key == "class_name":
            owner[key] = generator.choice(_NAMES)
        elif generator.random() < 0.2 and isinstance(owner, dict):
            owner.pop(key, None)
        else:
            owner[key] = generator.choice(_VALUES)
    return json.dumps(config).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    pending, found = [value], []
    while pending:
        owner = pending.pop()
        items = owner.items() if isinstance(owner, dict) else enumerate(owner)
        for key, inner in items:
            found.append((owner, key))
            if isinstance(inner, dict | list):
                pending.append(inner)
    return found


def harm_archive(generator: random.Random, data: bytes) -> bytes:
    """A member is harmed and the archive written anew, so that its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = generator.choice(
        ("config.json", "config.json", "model.weights.h5", "model.weights.h5", "metadata.json")
    )
    if name == "config.json" and generator.random() < 0.8:
        members[name] = harm_json(generator, members[name])
    else:
        members[name] = generator.choice(BYTES)(generator, members[name])
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return output.getvalue()


def harm_hdf5_config(generator: random.Random, data: bytes) -> bytes:
    """The configuration inside an HDF5 file is harmed."""
    import h5py

    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as stored:
        text = stored.attrs["model_config"]
        encoded = text.encode() if isinstance(text, str) else bytes(text)
        stored.attrs["model_config"] = harm_json(generator, encoded)
    return stream.getvalue()


def harm_file(generator: random.Random, model: Path, target: Path) -> tuple[str, bool]:
    """Writes one harmed copy of a model.

    Args:
        generator: Decides.
        model: The whole model, a file or a SavedModel's folder.
        target: Where the copy goes.

    Returns:
        The mutation's name, and whether the copy differs.
    """
    if model.is_dir():
        return _harm_folder(generator, model, target)
    data = model.read_bytes()
    mutation = generator.choice(BYTES)
    if model.suffix == ".keras" and generator.random() < 0.7:
        mutation = harm_archive
    elif model.suffix == ".h5" and generator.random() < 0.4:
        mutation = harm_hdf5_config
    harmed = mutation(generator, data)
    target.write_bytes(harmed)
    return mutation.__name__, harmed != data


def _harm_folder(generator: random.Random, model: Path, target: Path) -> tuple[str, bool]:
    files = [path for path in sorted(model.rglob("*")) if path.is_file() and path.name != "fingerprint.pb"]
    graph = [path for path in files if path.name == "saved_model.pb"]
    harmed_file = generator.choice(graph * 4 + files)
    mutation, differs = generator.choice(BYTES), False
    for path in files:
        copy = target / path.relative_to(model)
        copy.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        if path == harmed_file:
            harmed = mutation(generator, data)
            differs, data = harmed != data, harmed
        copy.write_bytes(data)
    return f"{mutation.__name__} of {harmed_file.name}", differs
