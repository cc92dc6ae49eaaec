"""``python -m driftline`` is the command ``driftline``."""

from driftline.cli.app import main

main()
