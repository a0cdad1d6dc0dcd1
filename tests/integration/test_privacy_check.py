"""The lock on this very kernel: every known way out is refused, and all are open without it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edgepose.device.sandbox.lock import refuse_descriptors
from edgepose.errors import DeviceError
from edgepose.sandbox.landlock import landlock_abi

# Refused by the system itself where this is run without root, or where the kernel lacks the feature.
NEED_RIGHTS = {
    "namespace", "mount_new", "mount_tree", "mount_move", "mount_attributes", "chroot", "accounting", "swap",
    "kernel_module", "kernel_log", "kernel_program", "counters", "keyring", "device_file", "foreign_number",
    "ptrace", "process_vm_readv", "pidfd_getfd", "proc_mem", "old_thread_proc_mem", "proc_fd", "io_uring",
    "inherited_ring", "page_faults", "file_watch", "terminal_input", "kernel_aio", "message_queue",
}  # fmt: skip
# Every way of which it was ever shown that a lock can forget it.
NAMED = {
    "proc_mem", "old_thread_proc_mem", "proc_fd", "proc_environ", "terminal_input", "dumpable", "core_limit",
    "inherited_ring", "inherited_stdin", "inherited_terminal", "inherited_memory", "inherited_process",
    "signal", "mount_new", "mount_tree", "mount_move", "mount_attributes", "chroot", "accounting", "swap",
    "personality",
    "semaphores", "shared_memory", "messages", "message_queue", "file_watch", "kernel_aio", "splice",
    "device_file", "file_write", "foreign_number",
}  # fmt: skip
LOCKED = "from pathlib import Path\nfrom edgepose.device.sandbox.lock import LockScope, lock_process\n"

needs_landlock = pytest.mark.skipif(not landlock_abi(), reason="this kernel has no Landlock")


def program(*words: object, **changes: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "edgepose.cli.device_main", *map(str, words)]
    environment = {**os.environ, **changes}
    return subprocess.run(call, capture_output=True, text=True, check=False, env=environment, timeout=300)


def code(text: str, **more: object) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own."""
    call = [sys.executable, "-c", LOCKED + textwrap.dedent(text)]
    return subprocess.run(
        call,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **more,  # type: ignore[call-overload]
    )


@needs_landlock
def test_every_way_is_refused_and_nothing_arrives(tmp_path: Path) -> None:
    done = program("privacy-check", "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert done.returncode == 0, done.stderr
    assert report["passed"]
    assert report["arrived"] == 0
    ways = {way["way"]: way for way in report["ways"]}
    assert len(ways) == len(report["ways"]) >= 55
    assert set(ways) >= NAMED
    assert all(way["refused"] for way in ways.values()), ways
    # A row proves something where the same is open without the lock.
    opened = {name for name, way in ways.items() if way["control"] == "open"}
    assert opened >= set(ways) - NEED_RIGHTS
    assert report["proven"] == len(opened) >= 26
    assert "landlock" in report["mechanisms"]
    assert f"{report['proven']} of them are open without it" in done.stdout


def test_without_the_sandbox_the_ways_are_open_and_the_check_fails(tmp_path: Path) -> None:
    done = program("privacy-check", "--without-sandbox", "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert done.returncode == 9, done.stderr
    assert report["arrived"] > 0
    assert report["proven"] == 0
    opened = {way["way"] for way in report["ways"] if not way["refused"]}
    assert opened >= {way["way"] for way in report["ways"]} - NEED_RIGHTS
    assert len(opened) >= 26


def test_a_locked_process_computes_makes_threads_and_writes_where_it_may(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    done = code(f"""
        import os, threading
        import numpy as np
        own = Path({os.fspath(tmp_path)!r}) / "own"
        print(lock_process(writable=(own,)).enforced)
        values = []
        thread = threading.Thread(target=lambda: values.append((np.ones((64, 64)) @ np.ones((64, 64))).sum()))
        thread.start(); thread.join()
        (own / "part").write_text(str(values[0]))
        (own / "part").rename(own / "whole")
        (own / "folder").mkdir()
        try:
            (own.parent / "file").write_text("x")
        except PermissionError:
            print("refused")
        print(Path("/proc/self/statm").exists(), len(os.listdir("/usr")) > 0, bool(os.uname()))
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "refused", "True", "True", "True"]
    assert (tmp_path / "own" / "whole").read_text() == "262144.0"
    assert not (tmp_path / "file").exists()


def test_without_a_named_folder_nothing_is_opened_for_writing(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("as it was")
    done = code(f"""
        import os
        folder = Path({os.fspath(tmp_path)!r})
        kept = (folder / "kept").open("w")
        print("no_file_writes" in lock_process().mechanisms)
        for act in (
            lambda: (folder / "new").write_text("x"),
            lambda: (folder / "there").write_text("x"),
            lambda: os.truncate(folder / "there", 0),
            lambda: (folder / "there").rename(folder / "elsewhere"),
            lambda: (folder / "there").unlink(),
            lambda: (folder / "new").mkdir(),
            lambda: (folder / "new").symlink_to("there"),
            lambda: os.mkfifo(folder / "new"),
            lambda: os.chmod(folder / "there", 0o777),
        ):
            try:
                act()
                print("open")
            except PermissionError:
                print("refused")
        print((folder / "there").read_text() == "as it was")
        kept.write("still"); kept.close()
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", *["refused"] * 9, "True"]
    assert (tmp_path / "kept").read_text() == "still"


@needs_landlock
def test_threads_that_were_there_before_are_restricted_too(tmp_path: Path) -> None:
    text = """
        import ctypes, os, threading
        from edgepose.sandbox.landlock import restrict_other_threads
        from edgepose.sandbox.landlock import FileAccess, make_ruleset, restrict_thread
        from edgepose.sandbox.seccomp import control
        go, said = threading.Event(), []
        def act():
            go.wait()
            try:
                os.close(os.open(TARGET, os.O_WRONLY))
                said.append("open")
            except PermissionError:
                said.append("refused")
        threads = [threading.Thread(target=act) for _ in range(30)]
        for thread in threads:
            thread.start()
        ruleset = make_ruleset(FileAccess((Path("/"),)))
        if OTHERS:
            restrict_other_threads(ruleset)
        control(ctypes.CDLL(None), 38, 1)
        restrict_thread(ruleset)
        go.set()
        for thread in threads:
            thread.join()
        print(len(said), *set(said))
    """
    (tmp_path / "file").touch()
    target = repr(os.fspath(tmp_path / "file"))
    for others, expected in ((True, "30 refused"), (False, "30 open")):
        done = code(text.replace("TARGET", target).replace("OTHERS", str(others)))
        assert done.stdout.strip() == expected, done.stderr


# Runs before the lock: to the process the kernel then looks like one without Landlock.
WITHOUT_LANDLOCK = """
    from edgepose.sandbox.seccomp import FilterPolicy
    from edgepose.sandbox.seccomp import load_filter
    from edgepose.sandbox.syscalls import ORDINARY_CALLS, REFUSED_CALLS, RULED_CALLS
    load_filter(FilterPolicy(frozenset({**ORDINARY_CALLS, **RULED_CALLS, **REFUSED_CALLS} ) - {
        "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
    }))
"""


def test_where_landlock_is_missing_the_lock_says_so_and_carries_what_it_can(tmp_path: Path) -> None:
    done = code(
        f"""{WITHOUT_LANDLOCK}
    import os
    pid = os.fork()
    if pid == 0:
        os.read(0, 1); os.pause() if hasattr(os, "pause") else __import__("signal").pause()
    report = lock_process(WRITABLE)
    print("landlock" in report.mechanisms, len(report.not_guaranteed), "no_file_writes" in report.mechanisms)
    print(report.not_guaranteed[0])
    try:
        os.close(os.open(f"/proc/{{pid}}/mem", os.O_RDWR))
        print("open")
    except OSError:
        print("refused")
    os.kill(pid, 9)
    """.replace("WRITABLE", "")
    )
    assert done.returncode == 0, done.stderr
    first, sentence, mem = done.stdout.splitlines()
    assert first == "False 1 True"
    assert "Landlock does not hold here" in sentence
    assert "/proc" in sentence
    # Nothing is opened for writing, so not that either.
    assert mem == "refused"


def test_signals_reach_own_children_and_nobody_else() -> None:
    done = code("""
        import os, signal, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        lock_process()
        child.kill()
        print(child.wait())
        for other in (os.getppid(), 1, 0, -1):
            try:
                os.kill(other, 0)
                print("open")
            except PermissionError:
                print("refused")
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["-9", "refused", "refused", "refused", "refused"]


def test_a_keeper_makes_processes_like_itself_which_lock_themselves_in_further() -> None:
    done = code("""
        import os, socket
        left, right = socket.socketpair()
        kept = frozenset({left.fileno(), right.fileno()})
        report = lock_process(kept, LockScope.SUPERVISOR)
        pid = os.fork()
        if pid == 0:
            # A service's standard output is a socket, which is looked at again.
            inner = lock_process(kept)
            print(inner.enforced, inner.mechanisms[-1] == report.mechanisms[-1], flush=True)
            try:
                os.fork()
            except PermissionError:
                print("no child of a child", flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        try:
            os.execv("/bin/true", ["true"])
        except PermissionError:
            print("no program")
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True True", "no child of a child", "no program"]


@needs_landlock
@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
def test_an_unprivileged_process_does_not_reach_a_peer_of_its_user() -> None:
    text = """
        import ctypes, os
        memory = ctypes.create_string_buffer(b"memory!!", 8)
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after the start of a program
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writer); os.read(reader, 1)
            print(memory.raw.decode(), flush=True); os._exit(0)
        if LOCK:
            # A folder of its own: Landlock alone keeps it from the peer.
            lock_process(writable=(Path("/tmp"),))
        try:
            descriptor = os.open(f"/proc/{pid}/mem", os.O_RDWR)
            os.pwrite(descriptor, b"OVERWRIT", ctypes.addressof(memory))
        except PermissionError:
            print("refused", flush=True)
        os.close(writer)
        os.waitpid(pid, 0)
    """
    locked, unlocked = (code(text.replace("LOCK", str(lock))) for lock in (True, False))
    assert locked.stdout.split() == ["refused", "memory!!"], locked.stderr
    assert unlocked.stdout.split() == ["OVERWRIT"], unlocked.stderr


def test_an_open_socket_is_found(tmp_path: Path) -> None:
    with socket.socket() as network:
        with pytest.raises(DeviceError, match=rf"descriptor {network.fileno()}, AF_INET"):
            refuse_descriptors(frozenset())
        with pytest.raises(DeviceError, match="AF_INET"):
            # A network socket cannot be kept by naming it.
            refuse_descriptors(frozenset({network.fileno()}))
    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(DeviceError, match="AF_UNIX"):
            refuse_descriptors(frozenset({left.fileno()}))
        refuse_descriptors(frozenset({left.fileno(), right.fileno()}))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("os.open('/', os.O_PATH)", "a path or a mount open"),
        ("os.open(f'/proc/{os.getppid()}/comm', os.O_RDONLY)", "of another process open"),
        ("os.open('/proc/self/comm', os.O_RDWR)", "a file of the kernel"),
        ("os.pidfd_open(os.getppid())", r"\[pidfd\]"),
        ("os.openpty()[0]", "/dev/ptmx"),
        ("os.openpty()", "/dev/p"),
        ("call('io_uring_setup', 4, ctypes.create_string_buffer(120))", r"\[io_uring\]"),
        ("ring_without_descriptor()", "io_uring ring"),
        ("call('userfaultfd', 1)", r"\[userfaultfd\]"),
    ],
)
def test_what_is_not_on_the_list_is_refused_and_named(made: str, said: str) -> None:
    done = code(f"""
        import ctypes, os
        from edgepose.device.sandbox.raw_calls import call
        from edgepose.errors import DeviceError
        def ring_without_descriptor():
            ring = call("io_uring_setup", 4, ctypes.create_string_buffer(120))
            libc = ctypes.CDLL(None)
            libc.mmap.restype = ctypes.c_void_p
            assert libc.mmap(None, ctypes.c_size_t(4096), 3, 1, ring, ctypes.c_long(0)) > 0
            os.close(ring)
        try:
            thing = {made}
        except OSError as problem:
            print("this kernel makes none:", problem); raise SystemExit
        try:
            lock_process()
            print("locked")
        except DeviceError as problem:
            print(problem.message)
    """)
    if done.stdout.startswith("this kernel makes none"):
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "by which frames could leave it" in done.stdout or "could send frames" in done.stdout
    assert re.search(said, done.stdout)


@needs_landlock
def test_where_landlock_is_missing_the_check_fails_and_names_what_is_open() -> None:
    done = code(f"""{WITHOUT_LANDLOCK}
    from edgepose.device.sandbox.privacy_check import check_privacy, require_private
    from edgepose.errors import DeviceError
    report = check_privacy()
    opened = {{way.way for way in report.ways if not way.refused}}
    print(report.passed, {{"proc_mem", "file_write"}} <= opened, "tcp" in opened)
    try:
        require_private(report)
    except DeviceError as problem:
        print(problem.exit_code, problem)
    """)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "False True False"
    assert second.startswith("9 ")
    assert "Landlock does not hold here" in second
