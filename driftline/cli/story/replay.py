"""Replays the flights through the proxy on the story's clock and sends each label when it was known."""

import heapq
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import httpx
import pandas as pd

from driftline.cli.conductor import Conductor
from driftline.cli.story.flights import CATEGORICAL, FEATURES, Slot
from driftline.names import HEADER_REQUEST_ID

LABEL_BATCH_MAX = 2000
#: Real seconds between two posts of labels that became known.
LABEL_EVERY_S = 0.1
REQUEST_TIMEOUT_S = 30.0
#: The story waits for a request that is later than this (story seconds).
LATENESS_MAX_S = 1800.0


@dataclass
class Replay:
    """Sends requests at their story time; keeps the labels until they are known. ``run_day`` and ``send_labels`` belong
    to one thread each.
    """

    proxy_url: str
    labels_url: str
    model: str
    namespace: str
    clock: Conductor
    requests: int = 0
    rows: int = 0
    failures: int = 0
    labels: int = 0
    _waiting: list[tuple[float, str, int, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run_day(self, slots: Iterable[Slot], stop: Callable[[], bool]) -> None:
        """Send one day's requests, each when the story's clock reaches it; returns early when ``stop`` says so."""
        with httpx.Client(base_url=self.proxy_url, timeout=REQUEST_TIMEOUT_S) as client:
            for slot in slots:
                self.clock.allow(slot.time_s + LATENESS_MAX_S)
                self._wait_until(slot.time_s, stop)
                if stop():
                    return
                self._send(client, slot)

    def send_labels(self, stop: threading.Event) -> None:
        """Post labels as they become known until ``stop`` is set."""
        with httpx.Client(base_url=self.labels_url, timeout=REQUEST_TIMEOUT_S) as client:
            while not stop.wait(LABEL_EVERY_S):
                self._post_known(client)

    def _send(self, client: httpx.Client, slot: Slot) -> None:
        response = client.post(
            f"/v2/models/{self.model}/infer",
            content=request_body(slot.rows),
            headers={"content-type": "application/json"},
        )
        self.requests += 1
        self.rows += len(slot.labels)
        if response.status_code != 200:
            self.failures += 1
            return
        request_id = response.headers[HEADER_REQUEST_ID]
        with self._lock:
            for row, (label, known_at_s) in enumerate(zip(slot.labels, slot.known_at_s, strict=True)):
                heapq.heappush(self._waiting, (known_at_s, request_id, row, label))

    def _wait_until(self, story_s: float, stop: Callable[[], bool]) -> None:
        while (ahead_s := (story_s - self.clock()) / self.clock.speed) > 0 and not stop():
            time.sleep(min(ahead_s, 0.2))

    def _post_known(self, client: httpx.Client) -> None:
        now_s = self.clock()
        batch: list[tuple[float, str, int, int]] = []
        with self._lock:
            while self._waiting and self._waiting[0][0] <= now_s and len(batch) < LABEL_BATCH_MAX:
                batch.append(heapq.heappop(self._waiting))
        if not batch:
            return
        response = client.post("/v1/labels", json=[self._label(*each) for each in batch])
        if response.status_code >= 400:
            self.failures += 1
            return
        self.labels += len(batch)

    def _label(self, known_at_s: float, request_id: str, row: int, label: int) -> dict[str, object]:
        return {
            "request_id": request_id,
            "row": row,
            "value": label,
            "observed_at_s": known_at_s,
            "model": self.model,
            "namespace": self.namespace,
        }


def request_body(rows: pd.DataFrame) -> bytes:
    """One Open Inference Protocol request: a tensor per feature, null where a value is missing."""
    inputs = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": "BYTES" if name in CATEGORICAL else "FP64",
            "data": rows[name].astype(object).where(rows[name].notna(), None).tolist(),
        }
        for name in FEATURES
    ]
    return json.dumps({"inputs": inputs}).encode()
