"""Objects as files of a directory: written beside their place, put on the disk, then renamed."""

import contextlib
import os
from pathlib import Path

from driftline.errors import UnavailableError
from logger_sidecar.shipping.sink_urls import SinkUrl


class Directory:
    """A directory on this machine, or one that is mounted."""

    def __init__(self, url: SinkUrl) -> None:
        self._name = url.name
        self._root = Path(url.path)

    def put(self, key: str, data: bytes) -> None:
        """Part of sink_objects.ObjectStore."""
        path = self._root / key
        temporary = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise UnavailableError(self._name, f"{path}: {error.strerror or error}") from error
