"""Judges an HDF5 file object by object, before a framework reads it.

HDF5 can point elsewhere (external links and storage, virtual datasets), claim any size in a few bytes, and
call filters from plugins. What is left here is a tree of plain numbers of bounded size with bounded
attributes. h5py parses the file, so this runs inside the locked process that loads it, as its first step.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from edgepose.errors import ModelError
from edgepose.host.models.keras_config import read_keras_config

# "Level 1E - Global Heap" of the HDF5 specification, with lengths of 8 bytes as h5py writes them: signature,
# version, size; then index, count, reserved and length of each object, index 0 for free space.
_HEAP = b"GCOL"
_HEAP_HEADER, _HEAP_OBJECT = struct.Struct("<4sIQ"), struct.Struct("<HHIQ")
_MOST_OBJECTS = 100_000
_DEEPEST = 64
_MOST_ATTRIBUTES = 1024
_ATTRIBUTE_LIMIT_BYTES = 8 << 20
_DATASET_LIMIT_BYTES = 2 << 30
# All datasets together, unpacked: a file of a few kilobytes may claim any number of empty ones.
_TOTAL_LIMIT_BYTES = 4 << 30


def read_hdf5_config(path: Path, name: str) -> dict[str, Any]:
    """Judges a whole Keras model in HDF5: its objects and the configuration in it.

    Raises:
        ModelError: The file is damaged or holds or names what is not allowed.
    """
    import h5py

    check_hdf5(path, name)
    try:
        with h5py.File(path, "r") as stored:
            text = stored.attrs.get("model_config")
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as problem:
        raise ModelError(f"{name} is an HDF5 file that is truncated or damaged.") from problem
    if text is None:
        raise ModelError(
            f"{name} is an HDF5 file without model_config: weights alone, or no Keras model.",
            "Save the whole model, not only its weights.",
        )
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else bytes(text)
    return read_keras_config(data, name)


def check_hdf5(path: Path, name: str) -> None:
    """Judges the objects of an HDF5 file.

    Raises:
        ModelError: The file is damaged, too large when unpacked, or points outside itself.
    """
    import h5py

    _check_heaps(path, name)
    try:
        with h5py.File(path, "r") as stored:
            _Checker(name).group(stored.id, 0)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, OverflowError, MemoryError) as problem:
        raise ModelError(f"{name} is an HDF5 file that is truncated or damaged.") from problem


def _check_heaps(path: Path, name: str) -> None:
    """Walks the heaps of texts as libhdf5 does, which goes round for ever at a free space of no size."""
    with path.open("rb") as stream:
        if not path.stat().st_size:
            raise ModelError(f"{name} is an HDF5 file that is truncated or damaged.")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = data.find(_HEAP)
            while start >= 0:
                if not _is_whole_heap(data, start):
                    raise ModelError(f"{name} is an HDF5 file that is truncated or damaged in its texts.")
                start = data.find(_HEAP, start + len(_HEAP))


def _is_whole_heap(data: mmap.mmap, start: int) -> bool:
    if start + _HEAP_HEADER.size > len(data):
        return False
    size = _HEAP_HEADER.unpack_from(data, start)[2]
    end, position = start + size, start + _HEAP_HEADER.size
    if not _HEAP_HEADER.size <= size <= len(data) - start:
        return False
    while position + _HEAP_OBJECT.size <= end:
        number, _, _, length = _HEAP_OBJECT.unpack_from(data, position)
        if number == 0:
            return bool(length == end - position)
        position += _HEAP_OBJECT.size + (length + 7) // 8 * 8
    return position <= end


class _Checker:
    """Walks the tree once; an object with several names is judged once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: set[int] = set()
        self._total_bytes = 0

    def group(self, group: Any, depth: int) -> None:
        from h5py import h5d, h5g, h5l, h5o

        if depth > _DEEPEST:
            raise self._refusal(f"groups in more than {_DEEPEST} levels")
        self._attributes(group)
        for name in group:
            if group.links.get_info(name).type != h5l.TYPE_HARD:
                raise self._refusal(f"the link {name[:80]!r}, which may lead out of the file")
            address = h5o.get_info(group, name).addr
            if address in self._seen:
                continue
            self._seen.add(address)
            if len(self._seen) > _MOST_OBJECTS:
                raise self._refusal(f"more than {_MOST_OBJECTS} objects")
            inner = h5o.open(group, name)
            if isinstance(inner, h5g.GroupID):
                self.group(inner, depth + 1)
            elif isinstance(inner, h5d.DatasetID):
                self._dataset(inner, name)
            else:
                raise self._refusal(f"{name[:80]!r}, which is neither a group nor numbers")

    def _dataset(self, dataset: Any, name: bytes) -> None:
        from h5py import h5d, h5t, h5z

        self._attributes(dataset)
        settings = dataset.get_create_plist()
        if settings.get_external_count() or settings.get_layout() == h5d.VIRTUAL:
            raise self._refusal(f"{name[:80]!r}, whose numbers are in another file")
        filters = {settings.get_filter(index)[0] for index in range(settings.get_nfilters())}
        if not filters <= {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}:
            raise self._refusal(f"{name[:80]!r}, which is packed in an unusual way")
        element = dataset.get_type()
        if element.get_class() not in {h5t.INTEGER, h5t.FLOAT, h5t.ENUM}:
            raise self._refusal(f"{name[:80]!r}, which does not hold numbers")
        size = dataset.get_space().get_simple_extent_npoints() * element.get_size()
        self._total_bytes += size
        if size > _DATASET_LIMIT_BYTES or self._total_bytes > _TOTAL_LIMIT_BYTES:
            raise self._refusal(f"{self._total_bytes >> 20} MiB of numbers when unpacked, which is too much")

    def _attributes(self, owner: Any) -> None:
        from h5py import h5a, h5t

        count = h5a.get_num_attrs(owner)
        if count > _MOST_ATTRIBUTES:
            raise self._refusal(f"an object with {count} attributes")
        for index in range(count):
            attribute = h5a.open(owner, index=index)
            element = attribute.get_type()
            if element.get_class() not in {h5t.INTEGER, h5t.FLOAT, h5t.ENUM, h5t.STRING}:
                raise self._refusal(f"the attribute {attribute.name[:80]!r} of an unusual type")
            points = max(attribute.get_space().get_simple_extent_npoints(), 0)
            if points * element.get_size() > _ATTRIBUTE_LIMIT_BYTES:
                raise self._refusal(f"the attribute {attribute.name[:80]!r} of more than 8 MiB")

    def _refusal(self, what: str) -> ModelError:
        return ModelError(
            f"{self._name} is an HDF5 file with {what}; edgepose does not read that.",
            "Save the model again with Keras, in one file.",
        )
