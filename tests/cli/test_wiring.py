"""What commands wire before they begin."""

import os
import subprocess
import sys

PROGRAM = """
import os
from driftline.cli import app, run, wiring
wiring.one_thread_per_product()
import numpy
print(len(os.listdir("/proc/self/task")))
"""


def test_products_of_matrices_take_one_thread_where_it_is_said_before_numpy_is_there() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", PROGRAM]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=environ)
    assert found.stdout.strip() == "1"
