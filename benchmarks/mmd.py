"""Exact MMD with permutations on the host and on a device, in turns in one run: ``python -m benchmarks.mmd``.

The device is the first GPU that JAX finds; without one, JAX on this machine's processor, to see that all of it runs and
agrees (no gain is to be expected there); without JAX the host alone. Seconds are of the wall clock, all threads, with
the drawing of deals and all transfers, as medians; what the first call takes besides, to compile, is said apart.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness import close, options
from detectors.adapters.jax_arrays import AVAILABLE, cpu_arrays, open_gpu
from detectors.multivariate.arrays import HOST, Arrays
from detectors.multivariate.kernels import gaussian
from detectors.multivariate.mmd import kernel_width
from detectors.multivariate.permutations import ROUNDING, Permuted, deal, mixed, permutation_test

COLUMNS = 40
#: Rows a side, permutations.
SIZES = ((1000, 999), (2500, 1999), (5000, 100))
#: What only a GPU does in a time that one waits for.
OF_GPUS = ((20_000, 999),)
HEAD = ("rows a side", "permutations", "host s", "device s", "host / device", "drawing s", "first call s", "agree")


@dataclass(frozen=True, slots=True)
class Case:
    """Two samples that differ a little, and how often they are dealt anew."""

    rows: int
    permutations: int

    def run(self, arrays: Arrays) -> Permuted:
        """The test, there."""
        rng = np.random.default_rng(1)
        values = rng.normal(size=(2 * self.rows, COLUMNS)).astype(np.float32)
        values[: self.rows] *= np.float32(1.01)
        kernel = gaussian(kernel_width(values, rng))
        return permutation_test(values, self.rows, kernel, self.permutations, rng, arrays)

    def draw(self) -> None:
        """The part of it that is the host's anyway."""
        deal(mixed(self.rows, self.rows), self.rows, self.permutations, np.random.default_rng(1))


def wall_s(work: Callable[[], object]) -> float:
    """Of one call."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def measured(case: Case, device: Arrays | None, rounds: int) -> tuple[Any, ...]:
    """A row of the table."""
    host_s, device_s, first_s = [], [], 0.0 if device is None else wall_s(lambda: case.run(device))
    for _ in range(rounds):
        host_s.append(wall_s(lambda: case.run(HOST)))
        if device is not None:
            device_s.append(wall_s(lambda: case.run(device)))
    host = statistics.median(host_s)
    drawing_s = wall_s(case.draw)
    if device is None:
        return case.rows, case.permutations, round(host, 3), "-", "-", round(drawing_s, 3), "-", "-"
    there = statistics.median(device_s)
    seconds = (round(value, 3) for value in (host, there, host / there, drawing_s, first_s - there))
    return case.rows, case.permutations, *seconds, agreement(case.run(HOST), case.run(device), case)


def agreement(host: Permuted, device: Permuted, case: Case) -> str:
    """Whether both say the same, and how far apart their statistics are in units of what rounding may do."""
    if device.device == "":
        return "the device failed, the host did it"
    apart = abs(host.unbiased - device.unbiased) / (ROUNDING * (abs(host.unbiased) + 2.0 / case.rows))
    same = "same" if host.p_value == device.p_value else f"{host.p_value:.4g} and {device.p_value:.4g}"
    return f"{same} p-value, statistic {apart:.2g} of the bound apart"


def main() -> None:
    """Measure, show, and close with the figures."""
    chosen = options(__doc__)
    gpu = open_gpu()
    device: Arrays | None = (cpu_arrays() if AVAILABLE else None) if isinstance(gpu, str) else gpu
    name = "none" if device is None else f"JAX on {device.name}"
    print(f"device: {name}" + (f"; no GPU: {gpu}" if isinstance(gpu, str) else ""))
    sizes = ((300, 99),) if chosen.quick else SIZES + (() if isinstance(gpu, str) else OF_GPUS)
    rows = []
    for size in sizes:
        rows.append(measured(Case(*size), device, 1 if chosen.quick else 5))
        print("  ".join(f"{what} {cell}" for what, cell in zip(HEAD, rows[-1], strict=True)), flush=True)
    labelled = {f"{rows_a_side} x {count}": cells for rows_a_side, count, *cells in rows}
    close(
        "mmd",
        {"device": name, "device_s": {case: cells[1] for case, cells in labelled.items()}},
        {"host_s": {case: cells[0] for case, cells in labelled.items()}},
        [{"title": f"MMD of {COLUMNS} columns, host and device ({name})", "head": HEAD, "rows": rows}],
    )


if __name__ == "__main__":
    main()
