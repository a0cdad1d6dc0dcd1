"""``python -m edgepose``."""

from edgepose.cli.main import main

main()
