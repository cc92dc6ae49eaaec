"""What several commands wire in the same way: monitors from a directory, references, the clock, the store."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from driftline.cli.conductor import follow
from driftline.clock import Clock, system_clock
from driftline.errors import MonitorError

if TYPE_CHECKING:
    from collector.store.store import Store
    from detectors.baselines.reference import Reference
    from driftline.monitors import Monitor

ENV_CLOCK = "DRIFTLINE_CLOCK"
DEFAULT_DATA_DIR = Path(".driftline")
#: Of the files of a directory, those that end so are monitors.
MONITOR_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class MonitorFile:
    """A monitor and the file it was read from; paths inside a monitor are relative to that file."""

    monitor: "Monitor"
    path: Path

    @property
    def reference_path(self) -> Path | None:
        """Where the reference data lie, if the monitor names any."""
        reference = self.monitor.reference
        return None if reference is None else self.path.parent / reference.path


def clock() -> Clock:
    """The clock of this installation, from ``DRIFTLINE_CLOCK``; the system's when unset."""
    return follow(os.environ.get(ENV_CLOCK, "system"))


def one_thread_per_product() -> None:
    """Products of matrices take one thread in this process; to be called before NumPy is imported.

    They are small. OpenBLAS's other threads would turn in a loop after each of them, waiting for the next: a seventh of
    the collector's time, and on a busy machine half of an analysis's.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def read_monitor(path: Path) -> "Monitor":
    """The monitor of one file; raises MonitorError with every fault of it."""
    # Not above: the sidecar needs no monitors, and pydantic behind them is 6 MB of every sidecar.
    from driftline.monitors import parse_monitor

    if not path.is_file():
        raise MonitorError(str(path), ["is not a file; 'driftline init' writes one"])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MonitorError(str(path), [f"cannot be read: {error}"]) from error
    return parse_monitor(text, str(path))


def load_monitor_files(directory: Path) -> dict[str, MonitorFile]:
    """All ``*.yaml`` and ``*.yml`` monitors of a directory by name; raises MonitorError with the faults of all."""
    if not directory.is_dir():
        raise MonitorError(str(directory), ["is not a directory of monitor files"])
    found: dict[str, MonitorFile] = {}
    faults: list[str] = []
    for path in sorted(path for path in directory.iterdir() if path.suffix in MONITOR_ENDINGS):
        try:
            monitor = read_monitor(path)
        except MonitorError as error:
            faults.append(str(error))
            continue
        if monitor.name in found:
            faults.append(f"{path} and {found[monitor.name].path} are both a monitor of {monitor.name}")
        found[monitor.name] = MonitorFile(monitor, path)
    if faults:
        raise MonitorError(str(directory), faults)
    if not found:
        raise MonitorError(str(directory), ["holds no *.yaml monitor; 'driftline init' writes one"])
    return found


def monitors_of(files: Mapping[str, MonitorFile]) -> dict[str, "Monitor"]:
    """The monitors alone, by name."""
    return {name: file.monitor for name, file in files.items()}


def load_references(files: Mapping[str, MonitorFile], cache_dir: Path) -> dict[str, "Reference"]:
    """The reference of every monitor that names one, built once per content and kept in ``cache_dir``."""
    found = {}
    for name, file in files.items():
        if (source := file.reference_path) is not None:
            found[name] = _reference(file.monitor, source, cache_dir)
    return found


def open_store(database_url: str) -> "Store":
    """The store, migrated to this version's schema."""
    from collector.store.store import Store

    return Store(database_url)


def existing_store(database_url: str) -> "Store":
    """The same for commands that only read; raises SettingsError where there is none, instead of making one."""
    from collector.store.database import require_database

    require_database(database_url)
    return open_store(database_url)


def _reference(monitor: "Monitor", source: Path, cache_dir: Path) -> "Reference":
    from detectors.baselines.reference import FORMAT, load_frame, load_reference
    from detectors.offline.in_time import reference_in_time

    if not source.is_file():
        raise MonitorError(monitor.name, [f"reference.path: {source} is not a file"])
    identity = FORMAT.encode() + source.read_bytes() + monitor.model_dump_json().encode()
    digest = hashlib.sha256(identity).hexdigest()[:16]
    artefact = cache_dir / f"{monitor.namespace}-{monitor.model}-{digest}.reference"
    if not artefact.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        built = replace(reference_in_time(load_frame(source), monitor), source=source.name, built_at_s=system_clock())
        # Several processes may build at once: each writes its own file and moves it into place whole.
        unfinished = artefact.with_suffix(f".{os.getpid()}")
        built.save(unfinished)
        unfinished.replace(artefact)
        _remove_older(artefact)
    loaded = load_reference(artefact)
    loaded.require_fit(monitor)
    return loaded


def _remove_older(artefact: Path) -> None:
    """Artefacts of other files or settings of the monitor: they may keep rows that the file no longer has."""
    monitor, _, digest = artefact.stem.rpartition("-")
    for other in artefact.parent.glob(f"{monitor}-{'[0-9a-f]' * len(digest)}{artefact.suffix}"):
        if other != artefact:
            other.unlink(missing_ok=True)
