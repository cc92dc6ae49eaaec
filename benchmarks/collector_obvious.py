"""The obvious way to collect: a FastAPI handler that takes one event, ``json`` reads it, SQLAlchemy's ORM inserts it.

Generous to it: nothing is counted into windows, nothing is validated, and no offset is kept. As a program it is the
server; :func:`measure` starts one and sends it events over a kept connection.
"""

import http.client
import json
import random
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from sqlalchemy import Engine, Float, Text, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.collector_traffic import NUMBERS, event
from benchmarks.harness import cpu_seconds
from driftline.events import encode_inference
from tests.parts.processes import PartProcess, free_ports

_WARM_UP = 50


class Base(DeclarativeBase):
    """The tables of the obvious way."""


class Prediction(Base):
    """A row per prediction, its columns as JSON."""

    __tablename__ = "obvious_predictions"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    request_id: Mapped[str] = mapped_column(Text, index=True)
    model: Mapped[str] = mapped_column(Text)
    time: Mapped[str] = mapped_column(Text)
    prediction: Mapped[str] = mapped_column(Text)
    score: Mapped[float] = mapped_column(Float)
    columns: Mapped[str] = mapped_column(Text)


def create_app(engine: Engine) -> FastAPI:
    """One endpoint, ``POST /events``, for a CloudEvent in binary mode."""
    app = FastAPI()

    @app.post("/events", status_code=204)
    async def take(request: Request) -> None:
        halves: dict[str, Any] = json.loads(await request.body())
        tensors = {tensor["name"]: tensor["data"] for tensor in halves["request"]["body"]["inputs"]}
        answers = {tensor["name"]: tensor["data"][0] for tensor in halves["response"]["body"]["outputs"]}
        columns = dict(zip(NUMBERS, tensors.pop("features"), strict=True))
        columns |= {name: data[0] for name, data in tensors.items()}
        headers = request.headers
        with Session(engine) as session:
            session.add(
                Prediction(
                    id=headers["ce-id"],
                    request_id=headers["ce-requestid"],
                    model=headers["ce-subject"],
                    time=headers["ce-time"],
                    prediction=str(answers["late"]),
                    score=answers["score"],
                    columns=json.dumps(columns),
                )
            )
            session.commit()

    return app


def measure(url: str, count: int, directory: Path) -> dict[str, float]:
    """Rows per CPU second of the server's process, and how much it grew."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.collector_obvious", url, str(port)]
    with PartProcess(command, directory / "obvious.log") as server:
        server.wait_ready(lambda: _listens(port), 60.0)
        pick = random.Random(5)
        messages = [encode_inference(event(number, pick)) for number in range(count + _WARM_UP)]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        began_s, began_mb = 0.0, 0.0
        for place, message in enumerate(messages):
            if place == _WARM_UP:
                began_s, began_mb = cpu_seconds([server.pid]), rss_mb(server.pid)
            headers = {name.replace("ce_", "ce-"): value.decode() for name, value in message.headers}
            connection.request("POST", "/events", body=message.value, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 204:
                raise RuntimeError(f"the obvious way answered {answer.status}:\n{server.output()[-2000:]}")
        spent_s = cpu_seconds([server.pid]) - began_s
        connection.close()
        return {"rows_per_core_second": count / spent_s, "rss_growth_mb": rss_mb(server.pid) - began_mb}


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Serve."""
    engine = create_engine(sys.argv[1])
    Base.metadata.create_all(engine)
    uvicorn.run(create_app(engine), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
