"""Signed bundles harmed in every way that we could think of, drawn by a seeded generator.

Each class of mutation is one function: generator and workshop in, the bytes of a harmed bundle out. Some are
what a thief of some of the keys could make: these are well-formed and wrongly signed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from bundle_workshop import Workshop, exact, packed
from tuf.api.metadata import Metadata
from tuf.api.serialization.json import JSONSerializer

from edgepose.host.keys.key_home import read_roots
from edgepose.host.keys.repository import PrivateKeys
from edgepose.records.bundle_manifest import MANIFEST_NAME
from edgepose.trust.bundle_reader import BLOCK_BYTES, digest_file_content, padding_bytes

# RFC 8032, section 5.1.
_ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def metadata_byte(draw: random.Random, shop: Workshop) -> bytes:
    """One byte of a metadata file has another value."""
    name = draw.choice(shop.metadata_names)
    return shop.replaced(name, _other_byte(draw, dict(shop.members)[name]))


def manifest_byte(draw: random.Random, shop: Workshop) -> bytes:
    """One byte of the manifest or its digest has another value."""
    name = draw.choice([MANIFEST_NAME, "manifest.sha256"])
    return shop.replaced(name, _other_byte(draw, dict(shop.members)[name]))


def file_byte(draw: random.Random, shop: Workshop) -> bytes:
    """One byte of a listed file has another value."""
    name = draw.choice(["model.onnx", "golden/0.png"])
    return shop.replaced(name, _other_byte(draw, dict(shop.members)[name]))


def archive_byte(draw: random.Random, shop: Workshop) -> bytes:
    """One byte of a header, a padding or the end has another value."""
    places: list[int] = []
    offset = 0
    for _, content in shop.members:
        end = offset + BLOCK_BYTES + len(content) + padding_bytes(len(content))
        places += [*range(offset, offset + BLOCK_BYTES), *range(offset + BLOCK_BYTES + len(content), end)]
        offset = end
    place = draw.choice([*places, *range(offset, len(shop.whole))])
    data = bytearray(shop.whole)
    data[place] ^= draw.randint(1, 255)
    return bytes(data)


def signature(draw: random.Random, shop: Workshop) -> bytes:
    """A signature is changed, dropped, doubled, exchanged, reordered or written in its second form."""
    name = draw.choice(shop.metadata_names)
    data = json.loads(dict(shop.members)[name])
    entries = data["signatures"]
    entry = draw.choice(entries)
    kind = draw.randrange(7)
    if kind == 0:
        raw = bytearray(bytes.fromhex(entry["sig"]))
        raw[draw.randrange(64)] ^= draw.randint(1, 255)
        entry["sig"] = raw.hex()
    elif kind == 1:
        entries.remove(entry)
    elif kind == 2:
        entries.append(dict(entry))
    elif kind == 3:
        other = draw.choice([other for other in shop.metadata_names if other != name])
        entry["sig"] = json.loads(dict(shop.members)[other])["signatures"][0]["sig"]
    elif kind == 4:
        entry["keyid"] = draw.choice(["f" * 64, "", entry["keyid"].upper(), entry["keyid"][:-1]])
    elif kind == 5:
        raw = bytearray(bytes.fromhex(entry["sig"]))
        second = int.from_bytes(raw[32:], "little") + _ED25519_ORDER
        entry["sig"] = (bytes(raw[:32]) + second.to_bytes(32, "little")).hex()
    elif len(entries) > 1:
        entries.reverse()
    else:
        entry["sig"] = draw.choice(["", "00", "zz" * 64, entry["sig"].upper(), entry["sig"] + "00"])
    return shop.replaced(name, exact(data))


def metadata_value(draw: random.Random, shop: Workshop) -> bytes:
    """A value somewhere in the metadata is another one, of the same or another type, or is gone."""
    name = draw.choice(shop.metadata_names)
    data = json.loads(dict(shop.members)[name])
    _change_somewhere(draw, data)
    return shop.replaced(name, exact(data))


def manifest_value(draw: random.Random, shop: Workshop) -> bytes:
    """A value somewhere in the manifest is another one, and the digest beside it is right."""
    data = json.loads(dict(shop.members)[MANIFEST_NAME])
    _change_somewhere(draw, data)
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    return _with_manifest(shop, text.encode("utf-8", "surrogatepass"))


def version_number(draw: random.Random, shop: Workshop) -> bytes:
    """A version is another one: of a role, or of a role in the file that names it."""
    name = draw.choice(shop.metadata_names)
    data = json.loads(dict(shop.members)[name])
    holders = [data["signed"], *data["signed"].get("meta", {}).values()]
    holder = draw.choice(holders)
    holder["version"] = draw.choice([0, -1, 1, holder["version"] + draw.randint(1, 9), 2**63, 1.0, "2", None])
    content = exact(data)
    return shop.replaced(name, content if content != dict(shop.members)[name] else content + b" ")


def length_or_digest(draw: random.Random, shop: Workshop) -> bytes:
    """A length or a digest in the metadata is another one."""
    name = draw.choice(["metadata/targets.json", "metadata/snapshot.json", "metadata/timestamp.json"])
    data = json.loads(dict(shop.members)[name])
    entry = draw.choice(list((data["signed"].get("targets") or data["signed"]["meta"]).values()))
    if draw.random() < 0.5:
        entry["length"] = draw.choice([0, entry["length"] + 1, entry["length"] - 1, 2**70, -1])
    else:
        entry["hashes"] = draw.choice(
            [{}, {"sha256": "0" * 64}, {"sha512": "0" * 128}, {**entry["hashes"], "md5": "0" * 32}]
        )
    return shop.replaced(name, exact(data))


def member_name(draw: random.Random, shop: Workshop) -> bytes:
    """A member has another name, harmless or not."""
    index = draw.randrange(len(shop.members))
    name, content = shop.members[index]
    other = draw.choice([
        f"../{name}", f"/{name}", f"./{name}", f"{name}/x", name.upper(), name[:-1], f".{name}", "x",
        f"metadata/{draw.randint(0, 300)}.root.json", name.replace("/", "//"), "manifest.json", name + "\n",
    ])  # fmt: skip
    if other == name:
        other = "y"
    return packed([*shop.members[:index], (other, content), *shop.members[index + 1 :]])


def member_type(draw: random.Random, shop: Workshop) -> bytes:
    """A member is a link, a device, a folder or an extension header, its checksum right."""
    data = bytearray(shop.whole)
    offset = 0
    for _, content in shop.members[: draw.randrange(len(shop.members))]:
        offset += BLOCK_BYTES + len(content) + padding_bytes(len(content))
    data[offset + 156] = draw.choice(b"\x001234567gxLKS")
    link = draw.choice([b"/etc/passwd", b"../state.json", b"manifest.json", b""])
    data[offset + 157 : offset + 157 + len(link)] = link
    data[offset + 148 : offset + 156] = b" " * 8
    total = sum(data[offset : offset + BLOCK_BYTES])
    data[offset + 148 : offset + 156] = b"%06o\0 " % total
    return bytes(data)


def dropped_member(draw: random.Random, shop: Workshop) -> bytes:
    """A member is missing."""
    index = draw.randrange(len(shop.members))
    return packed(shop.members[:index] + shop.members[index + 1 :])


def added_member(draw: random.Random, shop: Workshop) -> bytes:
    """A member is there twice, or one that nobody listed."""
    index = draw.randrange(len(shop.members) + 1)
    extra = draw.choice([*shop.members, ("zzz.bin", b"x"), ("golden/1.png", draw.randbytes(9)), ("a", b"")])
    return packed([*shop.members[:index], extra, *shop.members[index:]])


def swapped_members(draw: random.Random, shop: Workshop) -> bytes:
    """Two members have exchanged their contents, or their places."""
    first, second = draw.sample(range(len(shop.members)), 2)
    members = list(shop.members)
    if draw.random() < 0.5:
        members[first], members[second] = members[second], members[first]
    else:
        (one, content_one), (two, content_two) = members[first], members[second]
        members[first], members[second] = (one, content_two), (two, content_one)
    return packed(members)


def mixed_bundles(draw: random.Random, shop: Workshop) -> bytes:
    """Some members come from another bundle: of these keys before or after, or of a stranger's."""
    other = dict(draw.choice(shop.sources))
    shared = [name for name, content in shop.members if other.get(name, content) != content]
    # All metadata of another bundle of these keys, with its files, would be that bundle: not all are taken.
    taken = set(draw.sample(shared, draw.randint(1, len(shared) - 1)))
    if {name for name in shared if not name.startswith("metadata/")} == set():
        taken = {shared[0]}
    return packed([(name, other[name] if name in taken else content) for name, content in shop.members])


def whole_other_bundle(draw: random.Random, shop: Workshop) -> bytes:
    """A whole bundle signed by revoked keys or a stranger's, perhaps under the device's first roots."""
    before, _, strange = shop.sources
    roots = draw.randint(0, 3)
    if draw.random() < 0.3:
        return packed(before)
    if roots == 0:
        return packed(strange)
    known = [member for member in shop.members if "root.json" in member[0]][:roots]
    leaves = [member for member in strange if "root.json" not in member[0]]
    pretended = [(f"metadata/{roots + 1}.root.json", strange[0][1])] if draw.random() < 0.5 else []
    return packed([*known, *pretended, *leaves])


def stolen_key(draw: random.Random, shop: Workshop) -> bytes:
    """A leaf is signed anew with some of its real keys, fewer than its threshold, and with a stranger's."""
    role = draw.choice(["targets", "snapshot", "timestamp"])
    name = f"metadata/{role}.json"
    document = Metadata.from_bytes(dict(shop.members)[name]).signed
    document.version += draw.randint(0, 3)
    document.expires += timedelta(days=draw.randint(1, 1000))
    metadata: Metadata[Any] = Metadata(document)
    held = Metadata.from_bytes(read_roots(shop.home)[-1]).signed.roles[role].keyids
    theirs = Metadata.from_bytes(read_roots(shop.stranger)[-1]).signed.roles[role].keyids
    signers = PrivateKeys(shop.home, None).load(role, list(held))[:1]
    if draw.random() < 0.7:
        signers += PrivateKeys(shop.stranger, None).load(role, list(theirs))
    for signer in sorted(signers, key=lambda signer: signer.public_key.keyid):
        metadata.sign(signer, append=True)
    return shop.replaced(name, metadata.to_bytes(JSONSerializer()))


def cut_or_spliced(draw: random.Random, shop: Workshop) -> bytes:
    """A stretch is missing, is there twice, is zero, or random bytes stand in between."""
    start = draw.randrange(len(shop.whole))
    length = draw.choice([1, 2, 511, 512, 513, draw.randint(1, 4096)])
    head, tail = shop.whole[:start], shop.whole[start:]
    kind = draw.randrange(5)
    if kind == 0:
        return head
    if kind == 1:
        return head + tail[length:] if tail[length:] != tail else head
    if kind == 2:
        return head + tail[:length] + tail
    if kind == 3:
        zeroed = head + bytes(len(tail[:length])) + tail[length:]
        return zeroed if zeroed != shop.whole else shop.whole + b"\0"
    return head + draw.randbytes(length) + tail


def json_bomb(draw: random.Random, shop: Workshop) -> bytes:
    """A metadata file or the manifest is JSON that is hard to parse, or none."""
    bombs = [
        b"[" * 50_000, b'{"a":' * 20_000, b"9" * 50_000, b"", b"null", b"[]", b"{}", b'"\\ud800"',
        b"\xff\xfe",
        b'{"signed": {}, "signatures": []}', b'{"signed": null, "signatures": null}', b"1e999999",
        b'{"signed": {"_type": "root"}, "signatures": [{}]}', b"NaN", b'{"a": 1, "a": 2}',
    ]  # fmt: skip
    bomb = draw.choice(bombs)
    name = draw.choice([*shop.metadata_names, MANIFEST_NAME])
    return _with_manifest(shop, bomb) if name == MANIFEST_NAME else shop.replaced(name, bomb)


MUTATIONS: tuple[Callable[[random.Random, Workshop], bytes], ...] = (
    metadata_byte, manifest_byte, file_byte, archive_byte, signature, metadata_value, manifest_value,
    version_number, length_or_digest, member_name, member_type, dropped_member, added_member, swapped_members,
    mixed_bundles, whole_other_bundle, stolen_key, cut_or_spliced, json_bomb,
)  # fmt: skip


def _other_byte(draw: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    data[draw.randrange(len(data))] ^= draw.randint(1, 255)
    return bytes(data)


def _with_manifest(shop: Workshop, content: bytes) -> bytes:
    digest = digest_file_content(content)
    fresh = {MANIFEST_NAME: content, "manifest.sha256": digest}
    return packed([(name, fresh.get(name, old)) for name, old in shop.members])


def _change_somewhere(draw: random.Random, data: Any) -> None:
    """Walks down to a random place and changes it."""
    while True:
        keys = list(data) if isinstance(data, dict) else list(range(len(data)))
        key = draw.choice(keys)
        value = data[key]
        if isinstance(value, (dict, list)) and value and draw.random() < 0.85:
            data = value
            continue
        options: list[Any] = [None, [], {}, "", 0, -1, 2**70, 0.5, "x" * 3000, "\ud800", [[]], True]
        options.append("2099-01-01T00:00:00Z")
        if isinstance(value, int) and not isinstance(value, bool):
            options += [value + 1, value - 1]
        if isinstance(value, str):
            options += [value + "0", value[:-1], value.upper() + "!"]
        kind = draw.random()
        if kind < 0.15:
            del data[key]
        elif kind < 0.3 and isinstance(data, dict):
            data[f"{key}x"] = data.pop(key)
        else:
            data[key] = draw.choice([option for option in options if repr(option) != repr(value)])
        return
