"""KServe's agent as KServe runs it beside a model server: a proxy that logs what passes."""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.clients.go_programs import locked
from tests.parts.processes import PartProcess, free_ports

_START_TIMEOUT_S = 120.0


@contextlib.contextmanager
def kserve_agent(
    program: Path,
    directory: Path,
    server_port: int,
    arguments: Sequence[str],
    **environ: str,
) -> Iterator[int]:
    """The port of an agent in front of ``server_port``, for the model ``line`` in ``shop``.

    One at a time on a machine: it also listens on an abstract socket whose name it does not let one choose.
    """
    port, marshaller_port = free_ports(2)
    command = [str(program), "--port", str(port), "--component-port", str(server_port)]
    command += ["--inference-service", "line", "--namespace", "shop", "--component", "predictor"]
    command += ["--source-uri", "line-predictor-0", "--log-marshaller-port", str(marshaller_port)]
    command += ["--log-marshaller-url", f"http://127.0.0.1:{marshaller_port}/marshal", *arguments]
    # What Knative's queue and the injector set; the probe's is asked for, and may be empty.
    surroundings = {**os.environ, "SERVING_READINESS_PROBE": "", "NO_PROXY": "*", **environ}
    with (
        locked("kserve-agent.lock"),
        PartProcess(command, directory / "agent.log", cwd=directory, environ=surroundings) as process,
    ):
        try:
            process.wait_ready(lambda: listens(port), _START_TIMEOUT_S)
            yield port
        finally:
            process.kill()  # asked to end, it would wait half a minute for Kubernetes


def listens(port: int) -> bool:
    """Whether it takes a connection now."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2.0):
        return True
    return False
