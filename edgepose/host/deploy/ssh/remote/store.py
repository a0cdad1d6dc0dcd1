"""Takes files by their digests, and puts folders and bundles together from them.

Usage: python3 -c "<this text>" BASE < requests. Requests are lines of JSON on standard input; a
``put`` is followed by the bytes. Answers are lines of JSON. Whatever is cut off leaves a ``.part`` that the
next call overwrites or removes; a name without that ending is always whole.
"""

import base64
import contextlib
import datetime as dt
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import sys
import time
import zipfile

CHUNK = 1 << 20
PART = ".part"
LOCK_WAIT_S = 120


class Refused(Exception):
    """A request that cannot be carried out; the text says why."""


class Store:
    """The folder of edgepose on this machine."""

    def __init__(self, base):
        self.base = base
        self.blobs = os.path.join(base, "blobs")

    def place(self, name):
        """A path under the base; nothing leads out of it."""
        parts = name.split("/")
        if not name or any(part in ("", ".", "..") for part in parts):
            raise Refused("not a name under the base: %r" % name)
        return os.path.join(self.base, *parts)

    def blob(self, sha256):
        """Where the file with this digest is."""
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise Refused("not a digest: %r" % sha256)
        return os.path.join(self.blobs, sha256)

    def prepare(self):
        """Makes the folders and removes what a call that was cut off left behind."""
        make_folder(self.blobs, 0o700)
        for folder in (
            self.base,
            self.blobs,
            *(os.path.join(self.base, n) for n in ("runtimes", "code", "incoming")),
        ):
            for name in os.listdir(folder) if os.path.isdir(folder) else []:
                if name.endswith(PART):
                    remove(os.path.join(folder, name))

    def missing(self, request):
        """Which of the digests are not here; a file that was damaged meanwhile counts as missing."""
        return [sha256 for sha256 in request["sha256"] if not self.intact(sha256)]

    def put(self, request, source):
        """Takes one file from the stream."""
        target, left, digest = self.blob(request["sha256"]), request["size"], hashlib.sha256()
        with new_file(target + PART) as stream:
            while left:
                data = source.read(min(CHUNK, left))
                if not data:
                    raise Refused("the connection ended in the middle of a file")
                digest.update(data)
                stream.write(data)
                left -= len(data)
            flush(stream)
        if digest.hexdigest() != request["sha256"]:
            raise Refused("a file arrived with another digest than announced")
        os.replace(target + PART, target)
        sync_folder(self.blobs)

    def unpack(self, request):
        """Makes a folder of zip files; it appears whole or not at all."""
        target = self.place(request["to"])
        if os.path.isdir(target):
            return
        part = target + PART
        remove(part)
        make_folder(part)
        for sha256 in request["blobs"]:
            unzip(self.checked(sha256), part)
        for folder, _, files in os.walk(part):
            for name in files:
                with open(os.path.join(folder, name), "rb") as stream:
                    os.fsync(stream.fileno())
            sync_folder(folder)
        os.rename(part, target)
        sync_folder(os.path.dirname(target))

    def assemble(self, request):
        """Joins inline bytes and files; the whole must have its digest."""
        target, digest = self.place(request["to"]), hashlib.sha256()
        make_folder(os.path.dirname(target))
        # The installer reads it as the user of the device root, who is another one than root.
        with new_file(target + PART, 0o644) as stream:
            for segment in request["segments"]:
                for data in self.bytes_of(segment):
                    digest.update(data)
                    stream.write(data)
            flush(stream)
        if digest.hexdigest() != request["sha256"]:
            raise Refused("the bundle has another digest than announced")
        os.replace(target + PART, target)

    def bytes_of(self, segment):
        """The bytes of a segment, piece by piece."""
        if "inline" in segment:
            yield base64.b64decode(segment["inline"])
            return
        with open(self.blob(segment["sha256"]), "rb") as stream:
            while True:
                data = stream.read(CHUNK)
                if not data:
                    return
                yield data

    def intact(self, sha256):
        """Whether a file is here and has its digest; if it has another one, it is removed."""
        if not os.path.isfile(self.blob(sha256)):
            return False
        digest = hashlib.sha256()
        for data in self.bytes_of({"sha256": sha256}):
            digest.update(data)
        if digest.hexdigest() == sha256:
            return True
        remove(self.blob(sha256))
        return False

    def checked(self, sha256):
        """A file here, after its digest was computed again."""
        if not self.intact(sha256):
            raise Refused("a stored file was damaged and has been removed; try again")
        return self.blob(sha256)

    def write(self, request):
        """Writes a small file whole."""
        target = self.place(request["to"])
        make_folder(os.path.dirname(target))
        with new_file(target + PART) as stream:
            stream.write(request["text"].encode("utf-8"))
            os.fchmod(stream.fileno(), request["mode"])
            flush(stream)
        os.replace(target + PART, target)
        sync_folder(os.path.dirname(target))

    def sweep(self, request):
        """Removes what is done with, and of what was not named all but the newest and the young.

        A program may run from the newest; the young may belong to a deployment that another host has begun.
        """
        for folder, rule in request["keep"].items():
            place = self.place(folder)
            for name in rule.get("done", []):
                remove(self.place(folder + "/" + name))
            paths = [
                os.path.join(place, name) for name in (os.listdir(place) if os.path.isdir(place) else [])
            ]
            others = [path for path in paths if os.path.basename(path) not in rule["names"]]
            others.sort(key=os.path.getmtime)
            for path in others[: len(others) - rule["others"]]:
                # A device may know no time when it starts: what is of the future is not young either.
                now = dt.datetime.now(dt.timezone.utc).timestamp()
                if abs(now - os.path.getmtime(path)) >= rule.get("spare_s", 0):
                    remove(path)


def unzip(archive, folder):
    """Unpacks a wheel: its files, and those of its ``.data`` folder that belong to the library."""
    with zipfile.ZipFile(archive) as wheel:
        for entry in wheel.infolist():
            parts = entry.filename.split("/")
            if entry.is_dir():
                continue
            if parts[0].endswith(".data"):
                if parts[1] not in ("purelib", "platlib"):
                    continue
                parts = parts[2:]
            if any(part in ("", ".", "..") for part in parts) or stat.S_ISLNK(entry.external_attr >> 16):
                raise Refused("an archive holds %r" % entry.filename)
            target = os.path.join(folder, *parts)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with wheel.open(entry) as source, new_file(target, 0o644) as stream:
                shutil.copyfileobj(source, stream, CHUNK)


def new_file(path, mode=0o600):
    """A file that was not there; what is there, a link too, is removed and never followed."""
    if os.path.lexists(path):
        os.remove(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, mode), "wb")


def flush(stream):
    """Brings a file to the disk."""
    stream.flush()
    os.fsync(stream.fileno())


def sync_folder(folder):
    """Brings a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path, mode=0o755):
    """Makes a folder with its parents; each new name is brought to the disk."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path) or os.curdir
    make_folder(parent)
    # Another call may make it just now; a file there is told by the next step.
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    sync_folder(parent)


def remove(path):
    """Removes a file or a folder, or nothing."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def locked(base):
    """Keeps a second deployment waiting."""
    # The service runs as another user than the one who deploys as root, and reads runtime and code.
    make_folder(base)
    place = os.path.join(base, "deploy.lock")
    stream = os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w")
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return stream
        except OSError as problem:
            if problem.errno not in (errno.EAGAIN, errno.EACCES) or time.monotonic() > until:
                raise Refused("another deployment works on this device")
            time.sleep(0.2)


def serve(base, source, answer):
    """Carries out the requests, one after the other."""
    lock = locked(base)
    store = Store(base)
    store.prepare()
    for line in iter(source.readline, b""):
        request = json.loads(line)
        name = request["op"]
        if name == "put":
            result = store.put(request, source)
        else:
            result = {
                "missing": store.missing,
                "unpack": store.unpack,
                "assemble": store.assemble,
                "write": store.write,
                "sweep": store.sweep,
            }[name](request)
        answer({"done": name, "result": result})
    lock.close()


def main():
    """Serves standard input."""

    def answer(value):
        print(json.dumps(value), flush=True)

    try:
        serve(sys.argv[1], sys.stdin.buffer, answer)
    except Refused as problem:
        answer({"error": str(problem)})
    except OSError as problem:
        place = problem.filename or sys.argv[1]
        answer({"error": "%s (%s)" % (problem.strerror, place), "full": problem.errno == errno.ENOSPC})


if __name__ == "__main__":
    main()
