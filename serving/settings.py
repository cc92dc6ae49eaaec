"""Settings of the model server."""

import re
from dataclasses import dataclass
from pathlib import Path

from driftline.settings import port_faults


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Settings of ``driftline serve`` (prefix SERVING).

    ``models_dir``: the model repository. ``device``: for torch models, ``auto`` takes a GPU where there is one.
    ``threads``: predictions at the same time; 0 predicts on the server's own thread, which is fastest for small models.
    ``max_body_bytes``: largest request, unpacked. ``drain_timeout_s``: longest wait for requests in flight at the end.
    """

    models_dir: Path = Path("models")
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "auto"
    threads: int = 0
    max_body_bytes: int = 64 * 1024 * 1024
    drain_timeout_s: float = 20.0

    def validate(self) -> list[str]:
        """Every fault as a sentence."""
        faults = port_faults(self.port)
        if not self.models_dir.is_dir():
            faults.append(f"models_dir is '{self.models_dir}', which is not a directory")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            faults.append(f"device is '{self.device}', which is not auto, cpu or cuda[:N]")
        if self.threads < 0:
            faults.append(f"threads is {self.threads}; it must not be below 0")
        if self.max_body_bytes <= 0:
            faults.append(f"max_body_bytes is {self.max_body_bytes}; it must be above 0")
        if self.drain_timeout_s < 0:
            faults.append(f"drain_timeout_s is {self.drain_timeout_s}; it must not be below 0")
        return faults
