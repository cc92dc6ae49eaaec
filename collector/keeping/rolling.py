"""Few large files of payload rows instead of many small ones: what the batches of an hour wrote is put together.

The new file is written first; then, in one transaction, it is registered and the files it holds are not any more. A
crash between the two leaves a file that nobody registered, which the sweep removes. So every row is in one registered
file.
"""

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from collector.batches.payloads import HOUR_S, PayloadFiles, hour_folder
from collector.keeping.erasure import FILES
from collector.store.store import Store
from collector.store.transaction import PayloadFile

#: An hour that is not over is rolled once it has this many small files.
SMALL_FILES = 16
#: Values in a rolled file, about: what is held in memory while it is written.
_VALUES = 10_000_000
#: After its end an hour waits this long for late events.
_SETTLED_S = 900.0


class Roller:
    """Rolls the files of every model; one roller at a time, whichever process it is in."""

    def __init__(self, store: Store, payloads: PayloadFiles, *, maximum_rows: int | None = None) -> None:
        """``maximum_rows`` of a file; without it as many as fit in ten million values."""
        self._store = store
        self._payloads = payloads
        self._maximum_rows = maximum_rows

    def run(self, now_s: float) -> int:
        """Roll what can be rolled; how many files went into others. Raises TransientError."""
        by_hour: dict[tuple[str, str, float], list[PayloadFile]] = {}
        for file in self._store.payload_files():
            hour_s = file.first_event_s // HOUR_S * HOUR_S
            by_hour.setdefault((file.namespace, file.model, hour_s), []).append(file)
        rolled = 0
        for (_, _, hour_s), files in sorted(by_hour.items()):
            over = now_s > hour_s + HOUR_S + _SETTLED_S
            left = files
            while len(left) >= (2 if over else SMALL_FILES):
                part, left = self._next(left)
                if len(part) > 1:
                    self._roll(part)
                    rolled += len(part)
                elif not part:
                    break
        return rolled

    def _next(self, files: Sequence[PayloadFile]) -> tuple[list[PayloadFile], list[PayloadFile]]:
        """Files that fit into one, and those that are left for later; large ones are left out for good."""
        limit = self._limit(files[0])
        small = sorted((file for file in files if file.rows < limit / 2), key=lambda file: (file.rows, file.path))
        part: list[PayloadFile] = []
        while small and sum(file.rows for file in part) + small[0].rows <= limit:
            part.append(small.pop(0))
        return part, small

    def _limit(self, file: PayloadFile) -> int:
        if self._maximum_rows is not None:
            return self._maximum_rows
        values = self._payloads.values(file.path) or file.rows
        return max(1000, _VALUES * file.rows // values)

    def _roll(self, part: Sequence[PayloadFile]) -> None:
        with self._store.transaction() as transaction:
            transaction.lock_partition(FILES)
            registered = {file.path for file in self._store.payload_files(part[0].namespace, part[0].model)}
            if not all(file.path in registered for file in part):
                return  # somebody else rolled or erased meanwhile
            tables = [self._payloads.read(file.path) for file in part]
            table = pa.concat_tables([each for each in tables if each is not None], promote_options="default")
            table = table.sort_by([("_time_s", "ascending"), ("_request_id", "ascending"), ("_row", "ascending")])
            digest = hashlib.sha256("\n".join(sorted(file.path for file in part)).encode()).hexdigest()[:24]
            first_s, last_s = pc.min_max(table["_time_s"]).as_py().values()
            path = f"{hour_folder(part[0].namespace, part[0].model, first_s)}/rolled-{digest}.parquet"
            self._payloads.write(path, table)
            transaction.drop_payload_files(part)
            made = PayloadFile(path, part[0].namespace, part[0].model, first_s, last_s, len(table))
            transaction.add_payload_files([made])
        self._payloads.remove(file.path for file in part)
