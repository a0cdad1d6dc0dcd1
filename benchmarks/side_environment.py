"""An environment for a peer that edgepose must not depend on, made once under the user's cache."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path


def side_environment(package: str, version: str) -> Path:
    """The Python of an environment with this package, made where there is none yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "edgepose" / "tools" / f"{package}-{version}"
    python, finished = folder / "bin" / "python", folder / "finished"
    if not finished.exists():
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"{package}=={version}"], check=True)
        finished.touch()
    return python
