"""Settings of the recorder, which the sidecar hands over to it."""

from dataclasses import dataclass
from pathlib import Path

from logger_sidecar.spool.segment_writer import Fsync
from logger_sidecar.spool.writer import DropPolicy


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """Settings of the recorder process (prefix RECORDER); as in ``settings.SidecarSettings``."""

    spool_directory: Path = Path("spool")
    spool_max_bytes: int = 512 * 1024 * 1024
    segment_bytes: int = 16 * 1024 * 1024
    drop_policy: DropPolicy = "newest"
    fsync: Fsync = "segment"
