"""The parts of a deployment over ssh that need no connection."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.errors import ConfigError, DeployError, EdgeposeError, MissingDependencyError, TrustError
from edgepose.host.deploy.ssh.connection import check_fits, fingerprint_of, glibc_minor
from edgepose.host.deploy.ssh.device_store import probe_words, reported_error, store_script
from edgepose.host.deploy.ssh.remote_host import SshAddress, command_failure, option_path, ssh_failure
from edgepose.host.deploy.ssh.shipment import as_request, cut, device_code
from edgepose.records.device_profile import find_profile
from edgepose.records.device_status import DeviceProbe, DevicePython
from edgepose.records.record import from_builtins
from edgepose.trust.bundle_reader import END_OF_ARCHIVE, header_for, padding_bytes

PI = DeviceProbe(
    schema="edgepose.probe/1",
    arch="aarch64",
    os="linux",
    kernel="6.6.51",
    glibc="2.36",
    libstdcxx=True,
    pythons=(DevicePython(path="/usr/bin/python3.11", version="3.11"),),
    cpu_cores=4,
    memory_mib=1850,
    disk_free_mib=9000,
    board="Raspberry Pi 4 Model B Rev 1.5",
    cameras=("/dev/video0",),
    accelerators=(),
    systemd=True,
    user="pi",
    base="/home/pi/.local/share/edgepose",
    root_exists=False,
    runtimes=(),
)


@pytest.mark.parametrize("host", ["-oProxyCommand=evil", "", "pi@", "pi@host name", "pi@host;id", "a$(id)"])
def test_an_address_that_could_be_an_option_or_a_command_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="is no device address"):
        SshAddress(host)


@pytest.mark.parametrize("host", ["pi@10.0.0.7", "pi", "root@[fe80::1%eth0]", "camera-3.local", "::1"])
def test_addresses_of_ssh_are_taken(host: str) -> None:
    assert SshAddress(host).host == host


def test_a_fingerprint_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no fingerprint"):
        SshAddress("pi", "MD5:aa:bb")


@pytest.mark.parametrize(
    ("said", "family", "words"),
    [
        ("ssh: connect to host x port 22: Connection refused", DeployError, "cannot be reached"),
        ("ssh: Could not resolve hostname x: Name or service not known", DeployError, "cannot be reached"),
        ("pi@x: Permission denied (publickey).", DeployError, "refuses this user's ssh key"),
        ("No ED25519 host key is known for x\nHost key verification failed.", TrustError, "not known to ssh"),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            TrustError,
            "another host key",
        ),
        ("client_loop: send disconnect: Broken pipe", DeployError, "was lost"),
        ("", DeployError, "ssh said nothing"),
    ],
)
def test_what_ssh_says_becomes_one_sentence(said: str, family: type[EdgeposeError], words: str) -> None:
    problem = ssh_failure("x", said)
    assert type(problem) is family
    assert words in problem.message


def test_a_device_without_python_is_a_missing_dependency() -> None:
    problem = command_failure("x", "python3", 127, "bash: line 1: python3: command not found")
    assert isinstance(problem, MissingDependencyError)


def test_an_error_of_the_device_keeps_its_family_and_hint() -> None:
    problem = reported_error("pi", 7, "noise\nerror: The bundle is damaged.\n  hint: Send it again.\n")
    assert isinstance(problem, TrustError)
    assert (problem.message, problem.hint) == ("On pi: The bundle is damaged.", "Send it again.")
    assert isinstance(reported_error("pi", 1, "Traceback\nValueError: x"), DeployError)


def test_the_device_of_a_profile_fits() -> None:
    check_fits(find_profile("raspberrypi4"), PI)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arch": "x86_64"}, "expected linux on aarch64"),
        ({"board": "Raspberry Pi 3 Model B"}, "expected Raspberry Pi 4"),
        ({"board": None}, "an unnamed board"),
        ({"pythons": ()}, "it has Python none"),
        ({"pythons": (DevicePython(path="/p", version="3.7"),)}, "it has Python 3.7"),
        ({"glibc": None}, "not glibc"),
        ({"libstdcxx": False}, "no libstdc++.so.6"),
        ({"memory_mib": 480}, "480 MiB of memory"),
        ({"disk_free_mib": 100}, "100 MiB free"),
    ],
)
def test_another_device_is_refused_with_its_reason(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DeployError, match="Nothing was changed") as caught:
        check_fits(find_profile("raspberrypi4"), msgspec.structs.replace(PI, **change))
    assert words in caught.value.message


@pytest.mark.parametrize(("version", "minor"), [("2.36", 36), ("2.17", 17), ("2.31.9", 31), ("musl", 0)])
def test_glibc_versions(version: str, minor: int) -> None:
    assert glibc_minor(version) == minor


def test_a_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    shown = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True).stdout
    line = "host " + key.with_suffix(".pub").read_text()
    assert fingerprint_of(line) == shown.split()[1]
    assert fingerprint_of("host ssh-ed25519 not-base64!") == ""


@given(st.lists(st.binary(max_size=9000), max_size=6), st.binary(max_size=600))
def test_segments_join_to_the_bundle_that_was_cut(files: list[bytes], tail: bytes) -> None:
    parts = [
        header_for(f"file{number}", len(content)) + content + bytes(padding_bytes(len(content)))
        for number, content in enumerate(files)
    ]
    bundle = b"".join(parts) + END_OF_ARCHIVE + tail
    segments = cut(bundle)
    kept = {part.sha256: bundle[part.start : part.start + part.size] for part in segments if part.sha256}
    assert all(hashlib.sha256(content).hexdigest() == digest for digest, content in kept.items())
    assert set(kept.values()) >= {content for content in files if len(content) >= 4096}
    joined = b"".join(
        kept[part["sha256"]] if "sha256" in part else base64.b64decode(part["inline"])
        for part in as_request(bundle, segments)
    )
    assert joined == bundle


def test_the_device_side_travels_without_the_host_side_and_always_as_the_same_bytes() -> None:
    code = device_code()
    assert code == device_code()
    names = zipfile.ZipFile(io.BytesIO(code)).namelist()
    assert "edgepose/cli/device_main.py" in names
    assert "edgepose/_data/device_profiles/raspberrypi5.toml" in names
    assert not [name for name in names if name.startswith("edgepose/host/") or "__pycache__" in name]


def test_the_probe_describes_this_machine() -> None:
    done = subprocess.run([sys.executable, "-c", *probe_words()], capture_output=True, check=True)
    probe = from_builtins(json.loads(done.stdout), DeviceProbe, "probe")
    assert probe.os == "linux"
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in {one.version for one in probe.pythons}


def ask(base: Path, *requests: bytes) -> list[dict[str, Any]]:
    call = [sys.executable, "-c", store_script(), str(base)]
    done = subprocess.run(call, input=b"".join(requests), capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def line(**request: Any) -> bytes:
    return json.dumps(request).encode() + b"\n"


def put(content: bytes, digest: str | None = None) -> bytes:
    sha256 = digest or hashlib.sha256(content).hexdigest()
    return line(op="put", sha256=sha256, size=len(content)) + content


def test_the_store_keeps_what_has_its_digest_and_refuses_the_rest(tmp_path: Path) -> None:
    good = hashlib.sha256(b"good").hexdigest()
    assert "error" not in ask(tmp_path, put(b"good"))[-1]
    assert ask(tmp_path, line(op="missing", sha256=[good, "0" * 64]))[0]["result"] == ["0" * 64]
    assert "another digest" in ask(tmp_path, put(b"evil", "1" * 64))[-1]["error"]
    assert ask(tmp_path, line(op="missing", sha256=["1" * 64]))[0]["result"] == ["1" * 64]


def test_a_stream_that_ends_early_leaves_nothing_that_the_next_call_keeps(tmp_path: Path) -> None:
    assert "middle of a file" in ask(tmp_path, put(b"whole")[:-2])[-1]["error"]
    assert list(tmp_path.rglob("*.part"))
    ask(tmp_path, line(op="missing", sha256=[]))
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("name", ["../out", "/etc/x", "a//b", "a/./b", ""])
def test_the_store_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    base = tmp_path / "base"
    answer = ask(base, line(op="write", to=name, text="x", mode=0o644))
    assert "not a name under the base" in answer[-1]["error"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../../evil", "/evil", "package/../../evil"])
def test_an_archive_with_a_path_outside_is_refused(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    base = tmp_path / "a" / "b"
    answer = ask(base, put(content), line(op="unpack", to="runtimes/r", blobs=[digest]))
    assert "an archive holds" in answer[-1]["error"]
    assert not list(tmp_path.rglob("evil"))
    assert not (base / "runtimes" / "r").exists()


def test_a_bundle_is_only_put_together_whole(tmp_path: Path) -> None:
    content = b"x" * 5000
    digest = hashlib.sha256(content).hexdigest()
    parts = [{"inline": base64.b64encode(b"head").decode()}, {"sha256": digest}]
    whole = hashlib.sha256(b"head" + content).hexdigest()
    request = {"op": "assemble", "to": "incoming/b.epb", "segments": parts}
    assert "another digest" in ask(tmp_path, put(content), line(**request, sha256="2" * 64))[-1]["error"]
    assert not (tmp_path / "incoming" / "b.epb").exists()
    assert "error" not in ask(tmp_path, line(**request, sha256=whole))[-1]
    assert (tmp_path / "incoming" / "b.epb").read_bytes() == b"head" + content


def test_a_stored_file_that_was_damaged_counts_as_missing(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"good").hexdigest()
    ask(tmp_path, put(b"good"))
    assert ask(tmp_path, line(op="missing", sha256=[digest]))[0]["result"] == []
    (tmp_path / "blobs" / digest).write_bytes(b"goot")
    assert ask(tmp_path, line(op="missing", sha256=[digest]))[0]["result"] == [digest]
    ask(tmp_path, put(b"good"))
    assert ask(tmp_path, line(op="missing", sha256=[digest]))[0]["result"] == []


def test_a_sweep_spares_what_another_host_may_be_about_to_use(tmp_path: Path) -> None:
    names = {content: hashlib.sha256(content).hexdigest() for content in (b"own", b"kept", b"young", b"old")}
    ask(tmp_path, *map(put, names))
    os.utime(tmp_path / "blobs" / names[b"old"], (0, 0))
    rule = {"names": [names[b"kept"]], "others": 0, "done": [names[b"own"], "0" * 64], "spare_s": 3600}
    assert "error" not in ask(tmp_path, line(op="sweep", keep={"blobs": rule}))[-1]
    left = {path.name for path in (tmp_path / "blobs").iterdir()}
    assert left == {names[b"kept"], names[b"young"]}
    outside = line(op="sweep", keep={"blobs": {**rule, "done": ["../deploy.lock"]}})
    assert "not a name" in ask(tmp_path, outside)[-1]["error"]
    assert (tmp_path / "deploy.lock").exists()


def test_a_path_as_an_option_of_ssh_may_hold_spaces_and_percent_signs(tmp_path: Path) -> None:
    path = tmp_path / "my 100%h" / "known"
    call = ["ssh", "-F", "/dev/null", "-G", "-o", f"UserKnownHostsFile=/else {option_path(path)}", "device"]
    shown = subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()
    (found,) = (text for text in shown if text.startswith("userknownhostsfile "))
    assert found == f"userknownhostsfile /else {path}"
