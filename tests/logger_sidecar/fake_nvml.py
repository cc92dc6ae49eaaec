"""NVML as far as the sidecar asks it, with devices made of numbers; the names and units are the library's."""

import threading
from dataclasses import dataclass, field
from typing import Any

NVML_TEMPERATURE_GPU = 0
NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_LIBRARY_NOT_FOUND = 12
NVML_ERROR_GPU_IS_LOST = 15


class NVMLError(Exception):
    """As pynvml's: the code is the first argument."""


@dataclass
class Rates:
    gpu: int
    memory: int = 0


@dataclass
class Memory:
    used: int
    total: int


@dataclass
class Process:
    usedGpuMemory: int | None  # noqa: N815 - the library's name


@dataclass
class FakeNvml:
    """``says``: per device, the answer to each question; an int in place of an answer is an error code."""

    says: list[dict[str, Any]] = field(default_factory=list)
    init_error: int = 0
    hangs: threading.Event | None = None
    inits: int = 0
    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = NVML_TEMPERATURE_GPU
    NVML_ERROR_NOT_SUPPORTED = NVML_ERROR_NOT_SUPPORTED
    NVML_ERROR_NO_PERMISSION = NVML_ERROR_NO_PERMISSION
    NVML_ERROR_LIBRARY_NOT_FOUND = NVML_ERROR_LIBRARY_NOT_FOUND

    def nvmlInit(self) -> None:  # noqa: N802
        self.inits += 1
        if self.init_error:
            raise NVMLError(self.init_error)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        if self.hangs is not None:
            self.hangs.wait()
        return len(self.says)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        return self.says[index]

    def nvmlDeviceGetTemperature(self, handle: dict[str, Any], sensor: int) -> int:  # noqa: N802
        assert sensor == NVML_TEMPERATURE_GPU
        return answer(handle, "Temperature")

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDeviceGet"):
            raise AttributeError(name)
        return lambda handle: answer(handle, name.removeprefix("nvmlDeviceGet"))


def answer(handle: dict[str, Any], question: str) -> Any:
    found = handle[question]
    if isinstance(found, NVMLError):
        raise found
    return found


def h100(**changes: Any) -> dict[str, Any]:
    """A device that answers every question."""
    return {
        "UUID": "GPU-1",
        "Name": "NVIDIA H100 80GB HBM3",
        "UtilizationRates": Rates(gpu=37),
        "MemoryInfo": Memory(used=10 * 2**30, total=80 * 2**30),
        "PowerUsage": 312_500,
        "Temperature": 54,
        "ComputeRunningProcesses": [Process(6 * 2**30), Process(None)],
        **changes,
    }
