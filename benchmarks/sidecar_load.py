"""The two kinds of load of the sidecar benchmark: closed loop (wrk) and fixed rate (``go_load``)."""

import json
import re
import subprocess
import sys
from pathlib import Path

#: From here on the model server is asked to read the whole body before it answers.
LONG_BODY_BYTES = 64 * 1024
_HEAD = '{"inputs":[{"name":"x","shape":[1,%d],"datatype":"FP32","data":['
_TAIL = "0.1]}]}"
_SCRIPT = """
wrk.method = "POST"
wrk.path = "%s"
wrk.headers["Content-Type"] = "application/json"
wrk.body = io.open("%s", "rb"):read("*a")
"""


def tensor_body(size_bytes: int) -> bytes:
    """A V2 request with one FP32 tensor, of exactly this many bytes (at least 100)."""
    count = (size_bytes - len(_HEAD % 1_000_000) - len(_TAIL)) // 6
    head = _HEAD % (count + 1)
    room = size_bytes - len(head) - len(_TAIL) - 6 * count
    return (head + "0.123," * count + " " * room + _TAIL).encode()


class Load:
    """Loads from one body; ``cores``: where the generators run."""

    def __init__(self, work: Path, size_bytes: int, go_load: Path, cores: str | None) -> None:
        prefix = "/whole" if size_bytes >= LONG_BODY_BYTES else ""
        self._path = f"{prefix}/v2/models/iris/infer"
        self._body = work / f"body-{size_bytes}.json"
        self._body.write_bytes(tensor_body(size_bytes))
        self._script = work / f"load-{size_bytes}.lua"
        self._script.write_text(_SCRIPT % (self._path, self._body))
        self._go_load = go_load
        self._pin = ["taskset", "-c", cores] if cores else []

    def closed(self, port: int, connections: int, seconds: float) -> dict[str, float]:
        """As fast as answers come, on so many connections, for whole seconds."""
        whole = max(1, round(seconds))
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{whole}",
            "--latency",
            "--timeout",
            "20s",
            "-s",
            str(self._script),
        ]
        url = f"http://127.0.0.1:{port}"
        done = subprocess.run(
            [*self._pin, *command, url], check=True, capture_output=True, text=True, timeout=whole + 60
        )
        if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            sys.exit(f"requests failed:\n{done.stdout}")
        return {
            "requests": float(_find(r"(\d+) requests in", done.stdout)),
            "requests_per_s": float(_find(r"Requests/sec:\s+([\d.]+)", done.stdout)),
            "p50_us": _microseconds(_find(r"\n +50% +(\S+)", done.stdout)),
            "p99_us": _microseconds(_find(r"\n +99% +(\S+)", done.stdout)),
        }

    def fixed_rate(self, port: int, rate: float, seconds: float) -> dict[str, float]:
        """So many requests a second whatever the answers do; latency counts from when each was due."""
        command = [str(self._go_load), "-address", f"127.0.0.1:{port}", "-path", self._path, "-body", str(self._body)]
        command += ["-rate", str(rate), "-seconds", str(seconds)]
        done = subprocess.run(
            [*self._pin, *command], check=True, capture_output=True, text=True, timeout=seconds * 10 + 60
        )
        found = json.loads(done.stdout)
        if found["failed"]:
            sys.exit(f"{found['failed']} of {found['requests']} requests failed at {rate:g} a second")
        return {
            "requests": float(found["sent"]),
            "requests_per_s": found["requests"] / found["seconds"],
            "p50_us": found["p50_us"],
            "p99_us": found["p99_us"],
        }


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        sys.exit(f"wrk said nothing like {pattern!r}:\n{text}")
    return found[1]


def _microseconds(text: str) -> float:
    number = float(text.rstrip("mus"))
    return number * {"us": 1.0, "ms": 1e3}.get(text.lstrip("0123456789."), 1e6)
