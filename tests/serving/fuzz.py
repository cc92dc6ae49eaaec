"""``make fuzz``: a million damaged payloads through the codecs.

``python -m tests.serving.fuzz --payloads 1000000 --seed 1 --processes 2`` damages the corpus of every codec; the same
seed damages it alike. What is held is in ``tests.serving.fuzzing``; the first that break it are printed, and the exit
code is 1. ``tests.serving.fuzz_atheris`` looks for new paths through the code instead.
"""

import argparse
import math
import multiprocessing
import random
import sys
import time
from collections import Counter

from driftline.errors import DecodeError
from tests.serving.fuzzing import CURIOUS, MONITOR, TALK, check_many, draw

_BATCH = 64
#: So many payloads that break a rule are enough to look at.
_MOST_BROKEN = 5


def main() -> int:
    """Fuzz, say what was done, and whether all of it held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=1_000_000, help="damaged payloads (two make an event)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after so long, with what was done by then")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    jobs = [
        (arguments.seed * 1000 + number, arguments.payloads // arguments.processes, arguments.seconds)
        for number in range(arguments.processes)
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        tallies = pool.starmap(_damage, jobs)
    total = sum(tallies, Counter())
    spent_s = time.monotonic() - began_s
    print(
        ", ".join(f"{name} {count:,}" for name, count in total.items()), f"in {spent_s:,.0f} s, seed {arguments.seed}"
    )
    return 1 if total["broken"] else 0


def _damage(seed: int, payloads: int, seconds: float) -> Counter[str]:
    rng = random.Random(seed)
    ends_s = time.monotonic() + seconds
    tally: Counter[str] = Counter()
    while tally["damaged"] < payloads and tally["broken"] < _MOST_BROKEN and time.monotonic() < ends_s:
        batch = []
        for _ in range(_BATCH):
            drawn = draw(rng)
            tally["damaged"] += drawn.damaged
            batch.append(drawn)
        try:
            # Every fourth batch is also looked at from everywhere.
            check_many(batch, tally, (MONITOR, TALK, CURIOUS) if rng.random() < 0.25 else (MONITOR, TALK))
        except (AssertionError, DecodeError) as error:
            tally["broken"] += 1
            print(f"seed {seed}, after {tally['damaged']} payloads: {error}", flush=True)
    return tally


if __name__ == "__main__":
    sys.exit(main())
