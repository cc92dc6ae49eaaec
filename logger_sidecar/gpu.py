"""Figures of NVIDIA devices from NVML, read by a thread of its own: a driver that hangs stops nobody.

Runs alone too, with pynvml (the package nvidia-ml-py) and prometheus_client: ``python -m logger_sidecar.gpu`` prints
the figures once. (NVML API reference: docs.nvidia.com/deploy/nvml-api)
"""

import ctypes
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from driftline import names
from driftline.metric_families import counter_family, gauge_family

_log = logging.getLogger("driftline.gpu")
_T = TypeVar("_T")
#: Figures older than this many readings are shown no more: the driver does not answer.
_STALE_READINGS = 3
#: What a driver brings along and pynvml reads from.
_DRIVER_LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """One device at one moment; None where it does not say. ``index``: as the driver counts them.

    ``processes``, ``process_memory_bytes``: of the compute processes that can be seen from here; in a container
    these are usually its pod's, or none.
    """

    index: int
    uuid: str
    name: str
    utilization: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    processes: int | None = None
    process_memory_bytes: int | None = None


class NoDriverError(Exception):
    """There is no driver on this machine, and none will come while the process lives."""


class DeviceReader(Protocol):
    """Reads all devices; may take as long as the driver likes, and raise what the driver's library raises."""

    def __call__(self) -> Sequence[DeviceFigures]:
        """The figures of every device now."""


class NvmlReader:
    """Reads through ``nvml``, the module pynvml or one with the same functions."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._is_ready = False

    def __call__(self) -> Sequence[DeviceFigures]:
        """Part of DeviceReader."""
        nvml = self._nvml
        if not self._is_ready:
            try:
                nvml.nvmlInit()
            except nvml.NVMLError as error:
                if error.args and error.args[0] == nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                    raise NoDriverError(str(error)) from error
                raise
            self._is_ready = True
        try:
            return [self._device(index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError:
            # After a driver was reloaded every call fails until the library is initialised again.
            self._is_ready = False
            raise

    def _device(self, index: int) -> DeviceFigures:
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        rates = self._try(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        memory = self._try(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        milliwatts = self._try(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        running = self._try(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return DeviceFigures(
            index=index,
            uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
            name=_text(nvml.nvmlDeviceGetName(handle)),
            utilization=None if rates is None else rates.gpu / 100,
            memory_used_bytes=None if memory is None else memory.used,
            memory_total_bytes=None if memory is None else memory.total,
            power_watts=None if milliwatts is None else milliwatts / 1000,
            temperature_celsius=self._try(
                lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
            ),
            processes=None if running is None else len(running),
            # A process whose memory the driver does not tell (WDDM, MIG, another container) counts as holding none.
            process_memory_bytes=None if running is None else sum(each.usedGpuMemory or 0 for each in running),
        )

    def _try(self, read: Callable[[], _T]) -> _T | None:
        """What the device says; None where it does not support the question (a MIG slice has no utilisation)."""
        nvml = self._nvml
        try:
            return read()
        except nvml.NVMLError as error:
            if error.args and error.args[0] in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_NO_PERMISSION):
                return None
            raise


class GpuMetrics:
    """The newest figures; a Prometheus collector that never asks the driver itself.

    ``monotonic``: seconds of a clock that never jumps. ``interval_s``: pause between two readings.
    """

    def __init__(self, read: DeviceReader, interval_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._newest: tuple[float, Sequence[DeviceFigures]] | None = None
        self._counts = {names.OUTCOME_DELIVERED: 0, names.OUTCOME_FAILED: 0}
        self._ended = threading.Event()
        self._fault = ""

    @property
    def devices(self) -> Sequence[DeviceFigures]:
        """The figures of every device, as far as they are fresh."""
        newest = self._newest
        if newest is None or self._monotonic() - newest[0] > self._interval_s * _STALE_READINGS:
            return ()
        return newest[1]

    def start(self) -> None:
        """Read every ``interval_s`` seconds, in a thread that ends with the process even if the driver hangs."""
        threading.Thread(target=self._run, name="gpu", daemon=True).start()

    def close(self) -> None:
        """Read no more."""
        self._ended.set()

    def read(self) -> None:
        """Read once, now; a reading that fails is counted, and said once."""
        try:
            figures = self._read()
        except NoDriverError as error:
            _log.debug("no devices are watched: %s", error)
            self.close()
        except Exception as error:  # noqa: BLE001 - whatever a driver's library raises, the thread goes on
            self._counts[names.OUTCOME_FAILED] += 1
            if str(error) != self._fault:
                _log.warning("devices cannot be read: %s", error)
            self._fault = str(error)
        else:
            self._counts[names.OUTCOME_DELIVERED] += 1
            self._newest = (self._monotonic(), figures)
            self._fault = ""

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        figures = self.devices
        for metric, value_of in _GAUGES:
            family = gauge_family(metric)
            for device in figures:
                value = value_of(device)
                if value is not None:
                    family.add_metric([str(device.index), device.uuid, device.name], float(value))
            yield family
        readings = counter_family(names.GPU_READINGS)
        for outcome, count in self._counts.items():
            readings.add_metric([outcome], count)
        yield readings

    def _run(self) -> None:
        while not self._ended.is_set():
            self.read()
            self._ended.wait(self._interval_s)


_GAUGES: tuple[tuple[names.Metric, Callable[[DeviceFigures], float | None]], ...] = (
    (names.GPU_UTILIZATION, lambda device: device.utilization),
    (names.GPU_MEMORY_USED, lambda device: device.memory_used_bytes),
    (names.GPU_MEMORY_TOTAL, lambda device: device.memory_total_bytes),
    (names.GPU_POWER, lambda device: device.power_watts),
    (names.GPU_TEMPERATURE, lambda device: device.temperature_celsius),
    (names.GPU_PROCESSES, lambda device: device.processes),
    (names.GPU_PROCESS_MEMORY, lambda device: device.process_memory_bytes),
)


def has_driver(library: str = _DRIVER_LIBRARY) -> bool:
    """Whether there is a driver to ask. Without one pynvml would be several MB of memory for nothing."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def load_nvml() -> Any | None:
    """The module pynvml; None where it is not installed."""
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def gpu_metrics(interval_s: float, nvml: Any | None) -> GpuMetrics | None:
    """The collector, reading already; None where ``interval_s`` is 0 or there is no library."""
    if interval_s <= 0 or nvml is None:
        return None
    metrics = GpuMetrics(NvmlReader(nvml), interval_s)
    metrics.start()
    return metrics


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def main() -> int:
    """Print the figures of all devices once, as Prometheus reads them."""
    nvml = load_nvml()
    if nvml is None:
        sys.stderr.write("pynvml is not installed (the package nvidia-ml-py, or the extra 'gpu')\n")
        return 1
    metrics = GpuMetrics(NvmlReader(nvml), 60.0)
    logging.basicConfig(level=logging.DEBUG)
    metrics.read()
    registry = CollectorRegistry()
    registry.register(metrics)
    sys.stdout.write(generate_latest(registry).decode())
    return 0 if metrics.devices else 1


if __name__ == "__main__":
    sys.exit(main())
