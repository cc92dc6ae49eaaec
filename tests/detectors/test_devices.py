"""Tests of tables on a device: the same figures as on the host, whatever the tiles, and the host where it fails.

Where no GPU is, JAX works on the processor: the same lines, the same compiler, other cores.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import spatial

from detectors.adapters import jax_arrays
from detectors.adapters.jax_arrays import NO_PLUGIN, NOT_INSTALLED, arrays_for, cpu_arrays, open_gpu, told_place
from detectors.counts.summary import WindowState
from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.table_catalogue import TABLE_CATALOGUE, PlacedDetector
from detectors.evaluating.together import find, together_results
from detectors.multivariate.arrays import HOST, Arrays, DeviceFaultError, DeviceFullError, Host, Work
from detectors.multivariate.kernels import Kernel, gaussian, nearness
from detectors.multivariate.permutations import ROUNDING, Sums, deal, kernel_sums, mixed, permutation_test
from detectors.statistics.table_sample import TableSample
from driftline.errors import MonitorError
from driftline.monitors import Monitor, parse_monitor
from driftline.results import StreamKey, WindowKey

KERNELS = {"gaussian": gaussian(1.3), "nearness": nearness()}
PERMUTATIONS = 19
NO_GPU = "there is none in this test"

every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
with_jax = [pytest.mark.extras, pytest.mark.skipif(not jax_arrays.AVAILABLE, reason="JAX is not installed")]


def exact(rows: NDArray[np.float32], kernel: Kernel) -> tuple[Any, Any]:
    """The whole matrix in float64, rows with themselves out; what squared distances in float32 may do to each value."""
    values = rows.astype(np.float64)
    squares = spatial.distance.cdist(values, values, "sqeuclidean")
    lengths = (values**2).sum(axis=1)
    blurred = (rows.shape[1] + 4) * float(np.finfo(np.float32).eps) * (lengths[:, None] + lengths)

    def of(distances: Any) -> Any:
        return np.exp(kernel.number * distances) if kernel.number else -np.sqrt(distances)

    known, low, high = of(squares), of(np.maximum(squares - blurred, 0.0)), of(squares + blurred)
    np.fill_diagonal(known, 0.0)
    return known, np.maximum(np.abs(known - low), np.abs(high - known)) * (1.0 - np.eye(len(rows)))


def assert_exact(
    found: Sums,
    rows: NDArray[np.float32],
    n: int,
    kernel: Kernel,
    deals: NDArray[np.uint8],
    *,
    blurs: bool = True,
) -> None:
    """The sums are those of the matrix, within rounding; ``blurs``: that of its values comes on top."""
    m, (known, blur) = len(rows) - n, exact(rows, kernel)
    weights = deals / n - (1.0 - deals) / m
    squares = np.einsum("ij,ij->j", weights, known @ weights)
    bound = ROUNDING * (np.abs(squares) + (1.0 / n + 1.0 / m) * found.scale)
    of_kernel = np.einsum("ij,ij->j", np.abs(weights), blur @ np.abs(weights))
    assert (np.abs(found.squares - squares) <= bound + (of_kernel if blurs else 0.0)).all()
    assert (np.abs(found.rows - known.sum(axis=1)) <= blur.sum(axis=1) + ROUNDING * len(rows) * found.scale).all()


def table(seed: int, n: int, m: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Rows as they stand mixed, some of them equal, and their deals."""
    rng, order = np.random.default_rng(seed), mixed(n, m)
    rows = rng.standard_t(3, size=(n + m, columns)).clip(-8.0, 8.0).astype(np.float32)
    rows[:n:5] = rows[0]
    return rows[order], deal(order, n, PERMUTATIONS, rng)


@every_kernel
@given(st.integers(2, 90), st.integers(2, 90), st.sampled_from((1, 3, 9)), st.sampled_from((7, 16, 64)), st.integers(0))
def test_whatever_the_tiles_the_sums_are_those_written_out(
    kernel: Kernel, n: int, m: int, columns: int, tile: int, seed: int
) -> None:
    rows, deals = table(seed, n, m, columns)
    assert_exact(kernel_sums(rows, n, kernel, deals, Host(tile)), rows, n, kernel, deals)


@every_kernel
@pytest.mark.parametrize("columns", [2, 60])
def test_so_little_is_lost_by_rounding_in_large_tables(kernel: Kernel, columns: int) -> None:
    rows, deals = table(1, 1500, 900, columns)
    assert_exact(kernel_sums(rows, 1500, kernel, deals), rows, 1500, kernel, deals, blurs=False)


def test_any_neighbouring_rows_are_of_both_samples() -> None:
    for n, m in ((1, 1), (500, 500), (10, 3000), (777, 120)):
        first = mixed(n, m) < n
        assert sorted(mixed(n, m)) == list(range(n + m))
        for begin in range(0, n + m, 50):
            some = first[begin : begin + 50]
            assert abs(some.sum() - len(some) * n / (n + m)) <= 2.0


# --- where it is worked out -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Cramped:
    """A device with room for so many rows in a block, on the host's own arrays; ``broken``: it does nothing at all."""

    room: int
    broken: bool = False
    name: str = "a small device"
    xp: Any = np
    smallest: int = 16
    pads: bool = True

    def tile_rows(self, rows: int, columns: int, deals: int) -> int:
        return 128

    def into(self, array: Any) -> dict[str, Any]:
        return {}

    def put(self, array: NDArray[Any]) -> Any:
        if self.broken:
            raise DeviceFaultError("it was unplugged")
        if len(array) > self.room:
            raise DeviceFullError(f"{len(array)} rows are too many")
        return array.copy()

    def fetch(self, arrays: list[Any]) -> list[Any]:
        return arrays

    def prepared(self, work: Work, fixed: tuple[str, ...]) -> Work:
        return work

    @contextmanager
    def working(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize("room", [128, 100, 20, 16])
@every_kernel
def test_without_memory_for_a_tile_smaller_ones_are_tried(kernel: Kernel, room: int) -> None:
    rows, deals = table(2, 90, 70, 3)
    found = kernel_sums(rows, 90, kernel, deals, Cramped(room))
    assert found.device == "a small device"
    assert_exact(found, rows, 90, kernel, deals)


@pytest.mark.parametrize("device", [Cramped(15), Cramped(1000, broken=True)], ids=["full", "broken"])
def test_where_the_device_fails_the_host_goes_on_and_says_so(device: Cramped, caplog: pytest.LogCaptureFixture) -> None:
    rows = np.random.default_rng(3).normal(size=(200, 2)).astype(np.float32)
    found = permutation_test(rows, 90, gaussian(1.0), 99, np.random.default_rng(4), device)
    assert found == permutation_test(rows, 90, gaussian(1.0), 99, np.random.default_rng(4))
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("detectors")]
    assert warning.startswith("a small device")
    assert "the host works it out" in warning


def test_the_monitor_says_where() -> None:
    device = Cramped(1000)
    assert arrays_for("cpu", lambda: device) is HOST
    assert arrays_for("auto", lambda: device) is arrays_for("gpu", lambda: device) is device
    assert arrays_for("auto", lambda: NO_GPU) is HOST
    with pytest.raises(MonitorError, match=rf"detectors\.device: 'gpu'.*{NO_GPU}.*'auto'"):
        arrays_for("gpu", lambda: NO_GPU)
    assert told_place("auto", lambda: device) == "a small device"
    assert told_place("cpu", lambda: device) == "the host"
    assert NO_GPU in told_place("auto", lambda: NO_GPU)


def monitor(device: str, *names: str) -> Monitor:
    text = """
    {model: m, task: binary, columns: [{name: x, type: numeric}, {name: y, type: numeric}], reference: {path: r.csv}}
    """
    return parse_monitor(
        text.strip()[:-1] + f", detectors: {{device: {device}, multivariate: {list(names)}}}}}", "m.yaml"
    )


@pytest.mark.skipif(not isinstance(open_gpu(), str), reason="there is a GPU here")
def test_a_monitor_that_asks_for_a_gpu_is_refused_where_there_is_none() -> None:
    with pytest.raises(MonitorError, match=r"detectors\.device: 'gpu' was asked for.*JAX"):
        check_detectors(monitor("gpu", "mmd"))
    check_detectors(monitor("auto", "mmd"))


def test_a_result_names_the_device_that_worked_it_out() -> None:
    rng, spec = np.random.default_rng(5), monitor("cpu", "mmd", "energy", "pca_reconstruction")
    rows = TableSample(("x", "y"), rng.normal(size=(300, 2)), rng.normal(size=(250, 2)))
    key = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)

    def reasons(arrays: Arrays | None) -> list[str]:
        return [
            each.reason for each in together_results(key, find(spec, None, {}, "", WindowState(), rows, arrays), spec)
        ]

    on = ", worked out on a small device"
    assert [reason.endswith(on) for reason in reasons(Cramped(1000))] == [True, True, False]
    assert [reason.removesuffix(on) for reason in reasons(Cramped(1000))] == reasons(None)


@pytest.mark.parametrize("name", ["mmd", "energy"])
def test_more_rows_see_what_fewer_do_not(name: str) -> None:
    rng = np.random.default_rng(8)
    rows = TableSample(("x", "y"), rng.normal(size=(3000, 2)), rng.normal(0.15, 1.0, size=(3000, 2)))

    def p_value(compared_rows: int) -> float | None:
        watched = monitor("cpu", name)
        spec = watched.detectors.model_copy(update={"compared_rows": compared_rows, "false_alarm_rate": 0.2})
        watched = watched.model_copy(update={"detectors": spec})
        (found,) = find(watched, None, {}, "", WindowState(), rows)
        return found.found.evidence.p_value

    few, many = p_value(100), p_value(3000)
    assert few is not None
    assert many is not None
    assert few > 0.05 > 0.005 > many


@pytest.mark.skipif(open_gpu() not in (NOT_INSTALLED, NO_PLUGIN), reason="JAX has a part for a device here")
def test_where_there_is_nothing_for_a_gpu_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys; from detectors.adapters.jax_arrays import arrays_for; arrays_for('auto')\n"
        "print([name for name in ('jax', 'jaxlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- JAX itself -------------------------------------------------------------------------------------------------------
class TestJax:
    """On the processor, where JAX is installed."""

    pytestmark = with_jax

    @every_kernel
    @given(st.integers(2, 90), st.integers(2, 90), st.sampled_from((1, 4)), st.sampled_from((16, 64)), st.integers(0))
    def test_its_sums_are_those_written_out(
        self, kernel: Kernel, n: int, m: int, columns: int, tile: int, seed: int
    ) -> None:
        rows, deals = table(seed, n, m, columns)
        found = kernel_sums(rows, n, kernel, deals, cpu_arrays(smallest=tile, largest=tile))
        assert found.device == "cpu"
        assert_exact(found, rows, n, kernel, deals)

    @pytest.mark.parametrize("seed", range(4))
    @every_kernel
    def test_its_p_value_is_the_hosts(self, kernel: Kernel, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(700, 5)).astype(np.float32)
        rows[:300] += np.float32(0.04 * seed)
        host, device = (
            permutation_test(rows, 300, kernel, 199, np.random.default_rng(seed), arrays)
            for arrays in (HOST, cpu_arrays(smallest=128, largest=256))
        )
        assert device.p_value == host.p_value
        assert device.unbiased == pytest.approx(host.unbiased, abs=ROUNDING * (1 / 300 + 1 / 400) * 4.0)

    @pytest.mark.parametrize("embedding", [False, True])
    @pytest.mark.parametrize("placed", [entry.placed for entry in TABLE_CATALOGUE if entry.placed is not None])
    def test_a_detector_finds_the_same_on_it(self, placed: PlacedDetector, *, embedding: bool) -> None:
        rng = np.random.default_rng(6)
        before, now = rng.normal(size=(400, 12)), rng.normal(0.1, 1.0, size=(300, 12))
        now[::9, 3] = np.nan
        sample = TableSample(tuple(f"e{place}" for place in range(12)), before, now, embedding=embedding)
        host, device = (placed(sample, np.random.default_rng(7), 99, arrays) for arrays in (HOST, cpu_arrays()))
        assert (host.device, device.device) == ("", "cpu")
        assert device.evidence.p_value == host.evidence.p_value
        assert device.evidence.statistic == pytest.approx(host.evidence.statistic, abs=1e-7)
        assert host.effect is not None
        assert device.effect is not None
        assert device.effect.value == pytest.approx(host.effect.value, abs=1e-5)

    def test_tiles_fit_the_table_and_the_memory(self) -> None:
        arrays = cpu_arrays()
        assert [arrays.tile_rows(rows, 40, 1000) for rows in (10, 5_000, 10_000, 10**6)] == [512, 1024, 2048, 8192]
        assert [small_device(gigabytes).tile_rows(10**5, 40, 1000) for gigabytes in (0.1, 1, 4, 80)] == [
            512,
            4096,
            8192,
            8192,
        ]

    def test_its_errors_are_told_as_the_devices(self) -> None:
        arrays = cpu_arrays()
        with pytest.raises(DeviceFullError, match="memory"), arrays.working():
            arrays.xp.zeros(2**46, dtype=np.uint8).block_until_ready()


@dataclass(frozen=True)
class Memory:
    """What JAX says of a device's memory."""

    limit: float
    device_kind: str = "a device"

    def memory_stats(self) -> dict[str, float]:
        return {"bytes_limit": self.limit, "bytes_in_use": 0.1 * self.limit}


def small_device(gigabytes: float) -> jax_arrays.JaxArrays:
    return jax_arrays.JaxArrays(Memory(gigabytes * 1e9))
