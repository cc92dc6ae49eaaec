"""A real Alertmanager on a free port."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from tests.parts.http import answers, get_json
from tests.parts.processes import PartProcess, free_ports
from tests.parts.programs import find_alertmanager

_START_TIMEOUT_S = 120.0


class Alertmanager:
    """A server with its own configuration (mapping or YAML) and data below ``directory``.

    ``url``: its address; ``address``: the same as ``127.0.0.1:PORT``, as Prometheus' configuration wants it.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any] | str) -> None:
        port = free_ports(1)[0]
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)
        (directory / "alertmanager.yml").write_text(text)
        command = [
            str(find_alertmanager()),
            f"--config.file={directory / 'alertmanager.yml'}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",  # alone: it opens no other port
            "--log.level=warn",
        ]
        self._process = PartProcess(command, directory / "alertmanager.log", cwd=directory)
        self._process.wait_ready(lambda: answers(f"{self.url}/-/ready"), _START_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts it holds now."""
        found: list[dict[str, Any]] = get_json(f"{self.url}/api/v2/alerts")
        return found

    def stop(self) -> None:
        """End it."""
        self._process.stop()

    def output(self) -> str:
        """What it has logged."""
        return self._process.output()
