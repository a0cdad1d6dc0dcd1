"""Says what this machine is, as one line of JSON; changes nothing.

Usage: python3 -c "<this text>" SIGNS, where SIGNS is JSON: how accelerators are told (edgepose/accelerators).
"""

import ctypes
import glob
import json
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys


def read(path):
    """Text of a file, or None."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None


def base_folder():
    """Where edgepose lives: where the device says, else the system's place for root and the user's own."""
    named = os.environ.get("EDGEPOSE_BASE", "")
    if named.startswith("/"):
        return named
    if os.getuid() == 0:
        return "/var/lib/edgepose"
    data = os.environ.get("XDG_DATA_HOME", "")
    home = pwd.getpwuid(os.getuid()).pw_dir
    return os.path.join(data if data.startswith("/") else os.path.join(home, ".local", "share"), "edgepose")


def pythons():
    """Interpreters in the usual places, newest first."""
    found = {}
    for folder in (*(os.environ.get("PATH") or os.defpath).split(":"), "/usr/bin", "/usr/local/bin"):
        for path in sorted(glob.glob(os.path.join(folder, "python3*"))):
            match = re.fullmatch(r"python3\.(\d+)", os.path.basename(path))
            if match and os.access(path, os.X_OK):
                found.setdefault(int(match.group(1)), path)
    newest = sorted(found.items(), reverse=True)
    return [{"path": path, "version": "3.%d" % minor} for minor, path in newest if answers(path, minor)]


def answers(path, minor):
    """Whether an interpreter starts and is what its name says; version switchers have names for nothing."""
    call = [path, "-I", "-c", "import sys, zlib, sqlite3; print(sys.version_info[1])"]
    try:
        done = subprocess.run(
            call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.stdout.strip() == b"%d" % minor


def glibc():
    """Version of the GNU C library, or None."""
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
    except (ValueError, OSError, AttributeError):
        return None
    return version if name == "glibc" else None


def has_library(name):
    """Whether the loader finds a shared library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def memory_mib():
    """Main memory."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", read("/proc/meminfo") or "", re.MULTILINE)
    return int(match.group(1)) // 1024 if match else None


def free_mib(folder):
    """Free space where a folder is or would be."""
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    try:
        return shutil.disk_usage(folder).free >> 20
    except OSError:
        return None


def accelerators(signs):
    """Names of the signs of accelerators that this machine shows."""
    return sorted(
        sign["name"]
        for sign in signs
        if ids("usb", "idVendor", "idProduct").intersection(sign["usb"])
        or ids("pci", "vendor", "device").intersection(sign["pci"])
        or any(glob.glob(pattern) for pattern in sign["files"])
    )


def ids(bus, vendor, product):
    """``vendor:product`` of what is on a bus."""
    paths = glob.glob("/sys/bus/%s/devices/*/%s" % (bus, vendor))
    return {
        ":".join(
            (read(os.path.join(os.path.dirname(path), name)) or "").strip() for name in (vendor, product)
        )
        for path in paths
    }


def names_in(*folder):
    """Names in a folder, sorted."""
    try:
        return sorted(os.listdir(os.path.join(*folder)))
    except OSError:
        return []


def cores():
    """Cores that this user may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def runs_systemd():
    """Whether systemd is the first process, sd_booted(3)."""
    return os.path.isdir("/run/systemd/system")


def main():
    """Prints the answer."""
    base = base_folder()
    board = (read("/proc/device-tree/model") or "").rstrip("\0").strip()
    answer = {
        "schema": "edgepose.probe/1",
        "arch": platform.machine(),
        "os": platform.system().lower(),
        "kernel": platform.release(),
        "glibc": glibc(),
        "libstdcxx": has_library("libstdc++.so.6"),
        "pythons": pythons(),
        "cpu_cores": cores(),
        "memory_mib": memory_mib(),
        "disk_free_mib": free_mib(base),
        "board": board or None,
        "cameras": sorted(glob.glob("/dev/video*")),
        "accelerators": accelerators(json.loads(sys.argv[1])),
        "systemd": runs_systemd(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "base": base,
        "root_exists": os.path.exists(os.path.join(base, "root", "state.json")),
        "runtimes": names_in(base, "runtimes") + names_in(base, "code"),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
