"""``make fuzz``: a million damaged payloads, and then Atheris, which looks for new paths through the code by itself.

``python -m tests.serving.fuzz --payloads 1000000 --seed 1 --processes 2`` damages the corpus of every codec; the same
seed damages it alike. ``--atheris RUNS`` hands the corpus to Atheris instead, where it is installed (extra ``fuzz``).
What is held is in ``tests.serving.fuzzing``; the first that break it are printed, and the exit code is 1.
"""

import argparse
import importlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from driftline.errors import DecodeError
from driftline.events import Payload
from tests.serving import corpus
from tests.serving.fuzzing import check, check_many, draw

_BATCH = 64
#: So many payloads that break a rule are enough to look at.
_MOST_BROKEN = 5


def main() -> int:
    """Fuzz, say what was done, and whether all of it held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=1_000_000, help="damaged payloads (two make an event)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--atheris", type=int, default=0, metavar="RUNS", help="let Atheris do it, this often")
    arguments = parser.parse_args()
    if arguments.atheris:
        _atheris(arguments.atheris)
        return 0
    began_s = time.monotonic()
    jobs = [
        (arguments.seed * 1000 + number, arguments.payloads // arguments.processes)
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


def _damage(seed: int, payloads: int) -> Counter[str]:
    rng = random.Random(seed)
    tally: Counter[str] = Counter()
    while tally["damaged"] < payloads and tally["broken"] < _MOST_BROKEN:
        batch = []
        for _ in range(_BATCH):
            drawn = draw(rng)
            tally["damaged"] += drawn.damaged
            batch.append(drawn)
        try:
            check_many(batch, tally)
        except (AssertionError, DecodeError) as error:
            tally["broken"] += 1
            print(f"seed {seed}, after {tally['damaged']} payloads: {error}", flush=True)
    return tally


# --- Atheris ------------------------------------------------------------------------------------------------------
def _atheris(runs: int) -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["serving"]):
        for name in ("recognition", "decode_many", "groups", "extraction", "row_values", "v2_runs"):
            sys.modules.pop(f"serving.{name}", None)
            importlib.import_module(f"serving.{name}")
    with tempfile.TemporaryDirectory(prefix="driftline-fuzz-") as directory:
        for number, asked in enumerate(corpus.REQUESTS):
            for other, answered in enumerate(corpus.RESPONSES):
                (Path(directory) / f"{number}-{other}").write_bytes(_joined(asked.body, answered.body))
        atheris.Setup([sys.argv[0], f"-runs={runs}", "-max_len=4096", "-seed=1", directory], _one)
        atheris.Fuzz()


def _joined(request: bytes, response: bytes) -> bytes:
    return len(request).to_bytes(2, "big") + request + response


def _one(data: bytes) -> None:
    length = int.from_bytes(data[:2], "big")
    check(Payload(body=data[2 : 2 + length]), Payload(body=data[2 + length :]))


if __name__ == "__main__":
    sys.exit(main())
