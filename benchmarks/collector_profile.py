"""The collector under cProfile, its consumer thread alone: ``python -m benchmarks.collector_profile OUT ARGUMENTS``.

Prints on SIGTERM's way out; a profile stretches many small calls, so read it for shares, never for figures.
"""

import cProfile
import pstats
import sys
from pathlib import Path

from collector import server
from driftline.cli.app import main as driftline


def main() -> None:
    """Run the command with a profiled consumer."""
    out = Path(sys.argv.pop(1))
    profiler = cProfile.Profile()
    consume = server._consume  # noqa: SLF001 - the thread's body is what is measured

    def profiled(*arguments: object) -> None:
        profiler.runcall(consume, *arguments)
        with out.open("w") as file:
            pstats.Stats(profiler, stream=file).sort_stats("tottime").print_stats(45)

    server._consume = profiled  # type: ignore[assignment] # noqa: SLF001
    driftline()


if __name__ == "__main__":
    main()
