"""The environments of real clients and servers, one each because their pins clash: made once, outside the repository.

``tests/clients/NAME.txt`` pins what an environment holds; ``tests/parts/pinned_environments.py`` says where it lies.
``make clients`` (or ``python -m tests.clients.environments``) makes all of them; a test makes what it needs.
"""

import functools
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from tests.clients.go_programs import PACKAGES, program_of
from tests.parts import pinned_environments
from tests.parts.azurite import find_azurite
from tests.parts.missing import MissingPartError

_HERE = Path(__file__).parent
#: Each name is a file of pins beside this one.
ENVIRONMENTS = tuple(sorted(path.stem for path in _HERE.glob("*.txt")))


def python_of(name: str) -> Path:
    """The interpreter of an environment, made now where it lacks; raises MissingPartError with what stopped that."""
    remedy = f"python -m tests.clients.environments {name}"
    return pinned_environments.python_of(_HERE / f"{name}.txt", "clients", remedy)


def directory_of(name: str) -> Path:
    """Where an environment lies, made or not."""
    return pinned_environments.directory_of(_HERE / f"{name}.txt", "clients")


def library_path() -> str:
    """Where this Python's shared library lies: Triton's Python stub must load the very one its models run on."""
    return str(sysconfig.get_config_var("LIBDIR"))


def _size_mib(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 2**20


def main(wanted: Sequence[str]) -> int:
    """Make the environments named, or all, the programs in Go and Azurite; returns 1 when one could not be made."""
    failed = 0
    for name in wanted or ENVIRONMENTS:
        began_s = time.monotonic()
        try:
            python_of(name)
        except MissingPartError as error:
            print(error, file=sys.stderr)
            failed = 1
            continue
        directory = directory_of(name)
        print(f"{name:<10} {_size_mib(directory):6.0f} MiB  {time.monotonic() - began_s:5.1f} s  {directory}")
    if not wanted:
        _build_programs()
    return failed


def _build_programs() -> None:
    programs = {name: functools.partial(program_of, name) for name in PACKAGES} | {"azurite": find_azurite}
    for name, find in programs.items():
        try:
            print(f"{name:<12} {find()}")
        except MissingPartError as error:  # the test that needs it tries once more, from where this one came to
            print(error, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
