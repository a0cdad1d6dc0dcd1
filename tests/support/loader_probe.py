"""What a hostile model could make a loader try; run as a module: WHAT PLACE [descriptors].

Ends with 0 where it got through, with 1 and the error as its last line where it did not.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edgepose.sandbox.loader_lock import seal_writing

MIB = 1 << 20


def tcp(_place: Path) -> None:
    socket.socket().close()


def unix_socket(_place: Path) -> None:
    socket.socketpair()[0].close()


def program(_place: Path) -> None:
    subprocess.run(["/bin/true"], check=True)


def replace_itself(_place: Path) -> None:
    os.execv("/bin/true", ["/bin/true"])  # noqa: S606


def child(_place: Path) -> None:
    if os.fork() == 0:
        os._exit(0)


def write_outside(place: Path) -> None:
    (place / "written").write_text("by the model")


def overwrite(place: Path) -> None:
    (place / "old").write_text("by the model")


def empty(place: Path) -> None:
    # The flag alone empties a file, whatever it is opened for.
    os.close(os.open(place / "old", os.O_RDONLY | os.O_TRUNC))


def truncate(place: Path) -> None:
    os.truncate(place / "old", 0)


def remove(place: Path) -> None:
    (place / "old").unlink()


def rename(place: Path) -> None:
    (place / "old").rename(place / "new")


def folder(place: Path) -> None:
    (place / "folder").mkdir()


def link(place: Path) -> None:
    (place / "link").symlink_to("/")


def rights(place: Path) -> None:
    (place / "old").chmod(0o777)


def owner(place: Path) -> None:
    os.chown(place / "old", os.getuid(), os.getgid())


def times(place: Path) -> None:
    os.utime(place / "old")


def read_private(place: Path) -> None:
    (place / "old").read_text()


def parents_memory(_place: Path) -> None:
    Path(f"/proc/{os.getppid()}/mem").open("rb").close()


def parents_environment(_place: Path) -> None:
    Path(f"/proc/{os.getppid()}/environ").read_bytes()


def signal_parent(_place: Path) -> None:
    os.kill(os.getppid(), 0)


def trace(_place: Path) -> None:
    # PTRACE_TRACEME
    if ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def raise_limit(_place: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def memory(_place: Path) -> None:
    bytearray(3 * MIB * 1024)


def large_file(_place: Path) -> None:
    with Path("large").open("wb") as stream:
        stream.truncate(400 * MIB)


def flood(_place: Path) -> None:
    for _ in range(400):
        os.write(2, b"x" * MIB)


def forever(_place: Path) -> None:
    time.sleep(600)


def computing(_place: Path) -> None:
    while True:
        pass


# What a framework does and must go on doing.


def own_folder(_place: Path) -> None:
    Path("own").mkdir()
    Path("own/file").write_text("x")
    Path("own/file").rename("own/other")
    Path("own/other").unlink()


def thread(_place: Path) -> None:
    said: list[int] = []
    one = threading.Thread(target=lambda: said.append(1))
    one.start()
    one.join()
    assert said == [1]


def answer(_place: Path) -> None:
    os.write(int(sys.argv[3]), b"42")


def sealed_write(place: Path) -> None:
    seal_writing()
    own_folder(place)


def write_outside_sealed(place: Path) -> None:
    seal_writing()
    write_outside(place)


def sealed_answer(place: Path) -> None:
    seal_writing()
    answer(place)


def fresh_folder(place: Path) -> None:
    """Says what it was given."""
    sys.stdout.write(f"{Path.cwd()} {sorted(os.environ)} {len(os.environ)}\n")
    assert Path.cwd() != place


TRICKS: dict[str, Callable[[Path], None]] = {
    name: value
    for name, value in globals().items()
    if callable(value) and getattr(value, "__module__", "") == __name__
}

if __name__ == "__main__":
    TRICKS[sys.argv[1]](Path(sys.argv[2]))
