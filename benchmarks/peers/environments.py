"""The environments of the libraries that detectors are compared with: ``NAME.txt`` beside this file pins each.

``python -m benchmarks.peers.environments [NAME ...]`` makes them; a benchmark makes what it needs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.parts import pinned_environments
from tests.parts.missing import MissingPartError

_HERE = Path(__file__).parent
PEERS = tuple(sorted(path.stem for path in _HERE.glob("*.txt")))


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment, made now where it lacks; raises MissingPartError."""
    remedy = f"python -m benchmarks.peers.environments {name}"
    return pinned_environments.python_of(_HERE / f"{name}.txt", "peers", remedy)


def main(wanted: Sequence[str]) -> int:
    """Make those named, or all; 1 when one could not be made."""
    failed = 0
    for name in wanted or PEERS:
        try:
            print(f"{name:<14} {python_of(name)}", flush=True)
        except MissingPartError as error:
            print(error, file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
