"""Figures of devices: what NVML says is shown in base units, and a driver that fails or hangs stops nobody."""

import subprocess
import sys
import threading

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from driftline import names
from driftline.testing import ManualClock
from logger_sidecar.gpu import GpuMetrics, NvmlReader, gpu_metrics, has_driver, load_nvml
from tests.logger_sidecar.fake_nvml import (
    NVML_ERROR_GPU_IS_LOST,
    NVML_ERROR_LIBRARY_NOT_FOUND,
    NVML_ERROR_NO_PERMISSION,
    NVML_ERROR_NOT_SUPPORTED,
    FakeNvml,
    NVMLError,
    h100,
)
from tests.parts.processes import wait_until

LABELS = {"gpu": "0", "uuid": "GPU-1", "name": "NVIDIA H100 80GB HBM3"}


def collected(metrics: GpuMetrics) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry


def test_every_figure_is_shown_in_base_units_per_device() -> None:
    metrics = GpuMetrics(NvmlReader(FakeNvml([h100(), h100(UUID=b"GPU-2")])), 10.0)
    metrics.read()
    registry = collected(metrics)
    expected = {
        names.GPU_UTILIZATION: 0.37,
        names.GPU_MEMORY_USED: 10 * 2**30,
        names.GPU_MEMORY_TOTAL: 80 * 2**30,
        names.GPU_POWER: 312.5,
        names.GPU_TEMPERATURE: 54.0,
        names.GPU_PROCESSES: 2,
        names.GPU_PROCESS_MEMORY: 6 * 2**30,
    }
    for metric, value in expected.items():
        assert registry.get_sample_value(metric.name, LABELS) == value, metric.name
        assert registry.get_sample_value(metric.name, {**LABELS, "gpu": "1", "uuid": "GPU-2"}) == value
    assert registry.get_sample_value(names.GPU_READINGS.name, {"outcome": "delivered"}) == 1


@pytest.mark.parametrize("code", [NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION])
def test_what_a_device_does_not_tell_is_left_out_alone(code: int) -> None:
    metrics = GpuMetrics(NvmlReader(FakeNvml([h100(UtilizationRates=NVMLError(code))])), 10.0)
    metrics.read()
    registry = collected(metrics)
    assert registry.get_sample_value(names.GPU_UTILIZATION.name, LABELS) is None
    assert registry.get_sample_value(names.GPU_POWER.name, LABELS) == 312.5


def test_a_device_that_is_lost_is_counted_and_the_library_initialised_anew() -> None:
    nvml = FakeNvml([h100(PowerUsage=NVMLError(NVML_ERROR_GPU_IS_LOST))])
    metrics = GpuMetrics(NvmlReader(nvml), 10.0)
    metrics.read()
    metrics.read()
    assert collected(metrics).get_sample_value(names.GPU_READINGS.name, {"outcome": "failed"}) == 2
    nvml.says = [h100()]
    metrics.read()
    assert len(metrics.devices) == 1
    assert nvml.inits == 3


def test_old_figures_are_shown_no_more() -> None:
    clock = ManualClock(100.0)
    metrics = GpuMetrics(NvmlReader(FakeNvml([h100()])), 10.0, clock)
    metrics.read()
    clock.advance(30.0)
    assert len(metrics.devices) == 1
    clock.advance(0.1)
    assert metrics.devices == ()


def test_a_driver_that_hangs_holds_nobody_up() -> None:
    hangs = threading.Event()
    metrics = gpu_metrics(0.01, FakeNvml([h100()], hangs=hangs))
    assert metrics is not None
    assert b"driftline_gpu_readings_total" in generate_latest(collected(metrics))
    assert metrics.devices == ()
    hangs.set()
    wait_until(lambda: len(metrics.devices) == 1)
    metrics.close()


def test_without_a_driver_the_thread_ends_and_nothing_failed() -> None:
    nvml = FakeNvml(init_error=NVML_ERROR_LIBRARY_NOT_FOUND)
    metrics = gpu_metrics(0.001, nvml)
    assert metrics is not None
    wait_until(metrics._ended.is_set)
    assert nvml.inits == 1
    assert collected(metrics).get_sample_value(names.GPU_READINGS.name, {"outcome": "failed"}) == 0


def test_nobody_looks_when_told_not_to() -> None:
    assert gpu_metrics(0.0, FakeNvml([h100()])) is None
    assert gpu_metrics(1.0, None) is None


def test_a_driver_is_there_where_its_library_can_be_loaded() -> None:
    assert has_driver("libc.so.6")
    assert not has_driver("libdriftline-has-no-such-library.so.1")


def test_the_fake_answers_what_the_library_offers() -> None:
    pynvml = load_nvml()
    if pynvml is None:
        pytest.skip("nvidia-ml-py is not installed")
    fake = FakeNvml([h100()])
    for name in ("nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetTemperature"):
        assert callable(getattr(pynvml, name))
    for question in h100():
        assert callable(getattr(pynvml, f"nvmlDeviceGet{question}"))
    for name in ("NOT_SUPPORTED", "NO_PERMISSION", "LIBRARY_NOT_FOUND", "GPU_IS_LOST"):
        assert getattr(pynvml, f"NVML_ERROR_{name}") == globals().get(f"NVML_ERROR_{name}")
    assert pynvml.NVML_TEMPERATURE_GPU == fake.NVML_TEMPERATURE_GPU
    # The library's errors carry their code as the first argument, too.
    assert pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED).args[0] == NVML_ERROR_NOT_SUPPORTED


def test_the_script_prints_figures_or_says_why_not() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "logger_sidecar.gpu"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.count("# TYPE driftline_gpu_") >= 8 or "pynvml is not installed" in done.stderr
