"""A folder of downloads that holds code with the names of ours, Python's and Ansible's: none of it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.errors import ConfigError, DeployError, MissingDependencyError
from edgepose.host.deploy.fleet.inventory import read_inventory
from edgepose.host.deploy.ssh.shipment import WheelTarget, _download
from edgepose.host.tools.installation import TOOLS, Tool, install_tool
from edgepose.sandbox.python_child import find_program, run_python
from tests.conftest import PROJECT
from tests.support.bundle_fixtures import bundle_folder  # noqa: F401 (a fixture)
from tests.support.constant_models import write_one_stage
from tests.support.pictures import STANDING, write_video

# What an installed program's script does; the checkout is where edgepose is.
_PROGRAM = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); from edgepose.cli.{{}} import main; main()"
_MODULES = ("selectors", "json", "sitecustomize", "usercustomize", "venv", "struct", "cv2")
_PACKAGES = ("edgepose", "numpy", "pip", "tensorflow", "keras", "ai_edge_litert", "onnxruntime", "msgspec")


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; what of it runs writes its name into ``ran``."""
    folder = tmp_path / "downloads"
    (folder / "plugins").mkdir(parents=True)
    code = f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__ + '\\n')\n"
    for name in _MODULES:
        (folder / f"{name}.py").write_text(code)
    for name in _PACKAGES:
        (folder / name).mkdir()
        for file in ("__init__.py", "__main__.py"):
            (folder / name / file).write_text(code)
    (folder / "plugins" / "vars.py").write_text(code)
    (folder / "ansible.cfg").write_text("[defaults]\nvars_plugins = ./plugins\n")
    for name in ("ssh", "systemctl", "python3", "journalctl"):
        (folder / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path / 'ran'}\n")
        (folder / name).chmod(0o755)
    monkeypatch.chdir(folder)
    # An empty entry of such a list means the working folder.
    monkeypatch.setenv("PATH", f".::{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", "")
    return folder


@pytest.fixture
def ran(downloads: Path) -> Path:
    return downloads.parent / "ran"


def _call(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", _PROGRAM.format(program), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def _model(tmp_path: Path) -> Path:
    return write_one_stage(tmp_path / "two.onnx", [STANDING * 40 + 16], [0.9])


@pytest.mark.parametrize("name", [*_MODULES, *_PACKAGES])
def test_the_control_a_plain_child_runs_what_lies_there(name: str, downloads: Path, ran: Path) -> None:
    words = [sys.executable, "-m", name]
    subprocess.run(words, check=False, capture_output=True, env={**os.environ, "PYTHONPATH": "."})
    assert "__main__" in ran.read_text() or name in ran.read_text()


def test_a_child_of_ours_imports_nothing_of_it(downloads: Path, ran: Path) -> None:
    done = run_python("json.tool", ["--help"])
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
    assert not ran.exists()


@pytest.mark.parametrize("program", ["main", "device_main"])
def test_run_with_socket_and_page(program: str, tmp_path: Path, downloads: Path, ran: Path) -> None:
    write_video(downloads / "clip.mp4", frames=2, size_wh=(64, 64))
    options = ["--socket", "p.sock", "--live-page", "--port", "0", "--output", "poses.jsonl"]
    done = _call(program, "run", "clip.mp4", "--model", _model(tmp_path), *options)
    assert done.returncode == 0, done.stderr
    assert len((downloads / "poses.jsonl").read_text().splitlines()) == 2
    assert not ran.exists(), ran.read_text()


def test_privacy_check(downloads: Path, ran: Path) -> None:
    done = _call("device_main", "privacy-check", "--without-sandbox")
    assert "arrived" in done.stderr
    assert not ran.exists(), ran.read_text()


@pytest.mark.slow
def test_models_inspect_of_a_keras_file(marker_keras: Path, downloads: Path, ran: Path) -> None:
    (downloads / "model.keras").write_bytes(marker_keras.read_bytes())
    done = _call("main", "models", "inspect", "model.keras")
    assert done.returncode == 0, done.stderr
    assert not ran.exists(), ran.read_text()


@pytest.mark.slow
def test_install_with_its_health_check(
    bundle_folder: Path,  # noqa: F811
    downloads: Path,
    ran: Path,
) -> None:
    (downloads / "pose.epb").write_bytes((bundle_folder / "version1.epb").read_bytes())
    done = _call("main", "install", "pose.epb", "--root", "device")
    assert done.returncode == 0, done.stderr
    assert not ran.exists(), ran.read_text()


def test_the_wheels_of_a_device(downloads: Path, ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(DeployError, match="could not be had"):
        _download(("nothing-of-this-name",), WheelTarget("aarch64", "2.36", "3.11"), Path("wheels"))
    assert not ran.exists(), ran.read_text()


@pytest.mark.slow
def test_tools_install(downloads: Path, ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (downloads / "lock.txt").write_text("nothing-of-this-name==1.0 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setitem(TOOLS, "onnx2tf", Tool("onnx2tf", Path("lock.txt"), (sys.version_info[:2],)))
    monkeypatch.setenv("EDGEPOSE_TOOLS_DIR", "tools")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(MissingDependencyError, match="nothing-of-this-name"):
        install_tool("onnx2tf")
    assert not ran.exists(), ran.read_text()


def test_ansibles_configuration_and_plugins(downloads: Path, ran: Path) -> None:
    pytest.importorskip("ansible")
    (downloads / "hosts").write_text("camera-1\n")
    assert [host.name for host in read_inventory(Path("hosts"))] == ["camera-1"]
    assert not ran.exists(), ran.read_text()
    # The control: Ansible itself, started where the file lies.
    words = [Path(sys.executable).with_name("ansible-inventory"), "-i", "hosts", "--list"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(words, check=True, capture_output=True, env=environment)
    assert "vars" in ran.read_text()


def test_a_program_of_the_working_folder_is_not_taken_for_the_systems(downloads: Path) -> None:
    found = find_program("python3")
    assert found is not None
    assert Path(found).parent != downloads
    (downloads / "only-here").write_text("#!/bin/sh\n")
    (downloads / "only-here").chmod(0o755)
    assert find_program("only-here") is None


def test_an_inventory_that_is_not_there_is_told(downloads: Path) -> None:
    with pytest.raises(ConfigError, match="no inventory"):
        read_inventory(Path("nothing"))
