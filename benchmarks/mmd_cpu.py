"""CPU seconds of exact MMD with 100 permutations of 40 columns: ``python -m benchmarks.mmd_cpu ROWS``, rows a side.

A process of its own, with one thread of BLAS: on a machine whose cores are shared, threads that wait for each other by
turning would be counted as work.
"""

import os
import subprocess
import sys
import time

import numpy as np

from detectors.multivariate.kernels import gaussian
from detectors.multivariate.mmd import kernel_width
from detectors.multivariate.permutations import permutation_test

PERMUTATIONS, COLUMNS = 100, 40


def measured(rows: int) -> float:
    """As said above; raises CalledProcessError when the process fails."""
    command = [sys.executable, "-m", "benchmarks.mmd_cpu", str(rows)]
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return float(subprocess.run(command, env=alone, check=True, capture_output=True, text=True).stdout)


def _cpu_s(rows: int) -> float:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(2 * rows, COLUMNS)).astype(np.float32)
    began_s = time.process_time()
    kernel = gaussian(kernel_width(values, rng))
    permutation_test(values, rows, kernel, PERMUTATIONS, rng)
    return time.process_time() - began_s


if __name__ == "__main__":
    print(min(_cpu_s(int(sys.argv[1])) for _ in range(3)))
