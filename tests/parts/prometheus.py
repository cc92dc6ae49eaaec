"""A real Prometheus server on a free port, with the questions that tests put to it."""

import signal
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import yaml

from tests.parts.http import answers, get_json
from tests.parts.processes import PartProcess, free_ports, wait_until
from tests.parts.programs import find_prometheus

_START_TIMEOUT_S = 120.0


class Prometheus:
    """A server with its own configuration, rules and data, all below ``directory``.

    ``config``: the configuration as a mapping or as YAML. ``rules``: rule files by name, their YAML as text or mapping;
    they are written beside the configuration and entered into its ``rule_files``. ``flags``: further
    command-line flags.
    ``url``: its address.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any] | str,
        rules: Mapping[str, Mapping[str, Any] | str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._program = find_prometheus()
        self._flags = flags
        self._port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self._port}"
        self._write(config, rules or {})
        self._process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write(self, config: Mapping[str, Any] | str, rules: Mapping[str, Mapping[str, Any] | str]) -> None:
        settings = dict(yaml.safe_load(config) if isinstance(config, str) else config)
        for name, rule in rules.items():
            (self._directory / name).write_text(rule if isinstance(rule, str) else yaml.safe_dump(dict(rule)))
        settings["rule_files"] = [*settings.get("rule_files", ()), *rules]
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(settings, sort_keys=False))

    def _start(self) -> PartProcess:
        command = [
            str(self._program),
            f"--config.file={self._directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-lifecycle",
            # The first alerts leave before Prometheus has found its Alertmanager; a minute is long in a test.
            "--rules.alert.resend-delay=2s",
            "--log.level=warn",
            *self._flags,
        ]
        process = PartProcess(command, self._directory / "prometheus.log", cwd=self._directory)
        process.wait_ready(lambda: answers(f"{self.url}/-/ready"), _START_TIMEOUT_S)
        return process

    def reload(self, config: Mapping[str, Any] | str, rules: Mapping[str, Mapping[str, Any] | str]) -> None:
        """Take another configuration without a restart."""
        self._write(config, rules)
        self._process.send_signal(signal.SIGHUP)

    def query(self, expression: str, time_s: float | None = None) -> list[dict[str, Any]]:
        """The vector that an instant query is answered with: ``[{"metric": {...}, "value": [time, text]}, ...]``."""
        given = {"query": expression} | ({} if time_s is None else {"time": f"{time_s:.3f}"})
        result: list[dict[str, Any]] = self._get("query", given)["result"]
        return result

    def value(self, expression: str, time_s: float | None = None) -> float | None:
        """The one number that a query is answered with, None when there is no answer; raises ValueError on several."""
        result = self.query(expression, time_s)
        if len(result) > 1:
            raise ValueError(f"'{expression}' has {len(result)} answers, not one")
        return float(result[0]["value"][1]) if result else None

    def query_range(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[dict[str, Any]]:
        """The matrix that a range query is answered with."""
        given = {"query": expression, "start": str(start_s), "end": str(end_s), "step": str(step_s)}
        result: list[dict[str, Any]] = self._get("query_range", given)["result"]
        return result

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts now pending or firing."""
        found: list[dict[str, Any]] = self._get("alerts", {})["alerts"]
        return found

    def rule_groups(self) -> list[dict[str, Any]]:
        """The rule groups loaded, with the health of every rule."""
        groups: list[dict[str, Any]] = self._get("rules", {})["groups"]
        return groups

    def targets(self) -> list[dict[str, Any]]:
        """The targets scraped, with their health."""
        active: list[dict[str, Any]] = self._get("targets", {"state": "active"})["activeTargets"]
        return active

    def wait_for(self, expression: str, timeout_s: float = 120.0) -> list[dict[str, Any]]:
        """The answer of ``expression`` once it has one; raises TimeoutError."""
        wait_until(lambda: bool(self.query(expression)), timeout_s, f"an answer to '{expression}'", pause_s=0.2)
        return self.query(expression)

    def stop(self) -> None:
        """End it."""
        self._process.stop()

    def output(self) -> str:
        """What it has logged."""
        return self._process.output()

    def _get(self, what: str, given: Mapping[str, str]) -> Any:
        return get_json(f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(given)}")["data"]


class PrometheusFactory(Protocol):
    """Starts a Prometheus for this test."""

    def __call__(
        self,
        config: Mapping[str, Any] | str,
        rules: Mapping[str, Mapping[str, Any] | str] | None = None,
        flags: Sequence[str] = (),
    ) -> Prometheus:
        """See :class:`Prometheus`."""
        ...
