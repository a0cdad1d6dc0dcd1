"""What prepares, judges and ships a model: runs on the developer's machine only."""

import platform
import sys

from edgepose.errors import ConfigError

_OLDEST_PYTHON = (3, 11)

if sys.version_info[:2] < _OLDEST_PYTHON:
    raise ConfigError(
        f"The host side of edgepose needs Python 3.11 or later; this is {platform.python_version()}.",
        "On a device use edgepose-device, which works with Python 3.10.",
    )
