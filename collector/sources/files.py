"""Files of logged records that appear in a directory or an object store: each read once, from where it was left.

Every file is a partition of its own (``files:PATH``) whose offsets count its records; all are counted in one lane, so
that a window does not get a state per file. A file that has been read is not looked at again, even when it grows;
but TrustyAI's grow for as long as the model is asked, and are gone on with.
"""

import importlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from collector.sources import trustyai_files
from collector.sources.file_places import Directory, FilePlace, FileSeen
from collector.sources.interpreting import Interpreter
from collector.sources.logged_records import Item, read_file
from collector.sources.trustyai_rows import Item as StoredItem
from collector.sources.trustyai_rows import MissingLibraryError, UnevenError
from driftline.errors import EventError, SettingsError, UnavailableError
from driftline.events import InferenceEvent
from driftline.records import Content, Ignored, Malformed, Reach, Record

MALFORMED = "malformed"
TOO_LARGE = "too_large"
#: The position of a file that has been read.
DONE = 1 << 62
#: The partition under which all files are counted.
LANE = "files:all"
_PREFIX = "files:"
_LIST_EVERY_S = 2.0
_MAXIMUM_BYTES = 1 << 30
_RAW_BYTES = 64 * 1024
_log = logging.getLogger("driftline.collector")
_Mark = tuple[str, int, int]
_UNFINISHED = (".tmp", ".part", ".crc", "~")


def open_place(address: str, settle_s: float) -> FilePlace:
    """The place of an address: a directory, or an URL of an object store; raises SettingsError."""
    if "://" not in address:
        return Directory(Path(address), settle_s)
    try:
        module = importlib.import_module("collector.sources.object_files")
    except ImportError as error:
        raise SettingsError("files_from", [f"'{address}' needs a library: pip install 'driftline[objects]'"]) from error
    place: FilePlace = module.ObjectFiles(address)
    return place


class FilesSource:
    """A ``RecordSource`` of files. Not to be shared between threads."""

    def __init__(
        self,
        place: FilePlace,
        start: Callable[[str], int | None],
        interpreter: Interpreter,
        list_every_s: float = _LIST_EVERY_S,
    ) -> None:
        self._place = place
        self._start = start
        self._interpreter = interpreter
        self._list_every_s = list_every_s
        self._next_list = 0.0
        self._seen: set[_Mark] = set()
        #: Where reading goes on in files that grow, as far as it was handed out.
        self._handed_out: dict[str, int] = {}
        #: Files that grow and did not fit each other; they are looked at once more.
        self._doubted: set[_Mark] = set()
        self._pending: deque[FileSeen] = deque()
        self._records: Iterator[Record] = iter(())

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records; raises UnavailableError when the place does not answer."""
        until = time.monotonic() + timeout_s
        while True:
            records = self._poll(max_records)
            left_s = until - time.monotonic()
            if records or left_s <= 0:
                return records
            time.sleep(min(0.05, left_s))

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Files stay where they are: whoever put them there takes them away."""

    def go_back(self, partition: str) -> bool:
        """Not while it runs: which files are read is known from the store when it is opened."""
        return False

    def held(self) -> Mapping[str, str]:
        """None: files need nobody."""
        return {}

    def lag(self) -> Mapping[str, int]:
        """Files that are there and not read yet."""
        return {LANE: len(self._pending)}

    def elsewhere(self) -> Mapping[str, Reach]:
        """None: nobody shares it."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""

    def _poll(self, max_records: int) -> list[Record]:
        self._look()
        found: list[Record] = []
        while len(found) < max_records:
            part = list(islice(self._records, max_records - len(found)))
            found += part
            if part:
                continue
            try:
                if not self._open_next():
                    break
            except UnavailableError:
                if not found:
                    raise
                break  # what was read of the files before is handed out first
        return found

    def _look(self) -> None:
        if self._pending or time.monotonic() < self._next_list:
            return
        listed = [file for file in self._place.list() if _is_finished(file.path)]
        self._next_list = time.monotonic() + self._list_every_s
        self._seen &= set(map(_mark, listed))
        new = [file for file in listed if _mark(file) not in self._seen]
        self._pending.extend(sorted(new, key=lambda file: (file.time_ns, file.path)))

    def _open_next(self) -> bool:
        """Go to the next file that is not read yet; False where there is none."""
        while self._pending:
            file = self._pending[0]
            position = max(self._start(_PREFIX + file.path) or 0, self._handed_out.get(file.path, 0))
            data = b""
            if position < DONE and file.size_bytes <= _MAXIMUM_BYTES:
                data = self._place.read(file.path) or b""
            self._pending.popleft()
            self._seen.add(_mark(file))
            if position < DONE:
                self._records = self._read(file, data, position)
                return True
        return False

    def _read(self, file: FileSeen, data: bytes, position: int) -> Iterator[Record]:
        partition = _PREFIX + file.path
        if file.size_bytes > _MAXIMUM_BYTES:
            detail = f"'{file.path}' has {file.size_bytes} bytes, more than {_MAXIMUM_BYTES}"
            yield Record(partition, 0, DONE, Malformed(TOO_LARGE, detail, b""), LANE)
            return
        try:
            if trustyai_files.is_index(file.path):
                yield from self._grown(file.path, data, position)
                return
            contents = map(self._content, read_file(file.path, data, file.time_ns))
            yield from _numbered(partition, contents, position)
        except MissingLibraryError as error:
            _log.warning("'%s' waits: %s", file.path, error)
        except EventError as error:
            if isinstance(error, UnevenError) and _mark(file) not in self._doubted:
                self._doubted.add(_mark(file))
                self._seen.discard(_mark(file))
                return
            fault = Malformed(MALFORMED, f"'{file.path}': {error}", data[:_RAW_BYTES])
            yield Record(partition, position, DONE, fault, LANE)

    def _grown(self, path: str, index: bytes, position: int) -> Iterator[Record]:
        others = trustyai_files.companions(path)
        contents = [self._place.read(other) for other in others]
        for other, content in zip(others, contents, strict=True):
            if content is None:
                raise EventError("TrustyAI's files", [f"'{other}' is missing"])
        stored = trustyai_files.read_stored(path, index, [content or b"" for content in contents])
        for number, item in enumerate(stored):
            if number >= position:
                self._handed_out[path] = number + 1
                yield Record(_PREFIX + path, number, number + 1, self._content(item), LANE)

    def _content(self, item: Item | StoredItem) -> Content:
        if isinstance(item, tuple):
            return Malformed(MALFORMED, item[0], item[1][:_RAW_BYTES])
        if isinstance(item, InferenceEvent | Ignored):
            return item
        try:
            return self._interpreter.read(item)
        except EventError as error:
            return Malformed(MALFORMED, str(error), item.body[:_RAW_BYTES])


def _numbered(partition: str, contents: Iterator[Content], position: int) -> Iterator[Record]:
    """Records from ``position`` on; the last one says that the file is done."""
    held: tuple[int, Content] | None = None
    for number, content in enumerate(contents):
        if held is not None and held[0] >= position:
            yield Record(partition, held[0], held[0] + 1, held[1], LANE)
        held = (number, content)
    if held is not None and held[0] >= position:
        yield Record(partition, held[0], DONE, held[1], LANE)


def _is_finished(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return not name.startswith((".", "_")) and not name.endswith(_UNFINISHED) and not trustyai_files.is_companion(name)


def _mark(file: FileSeen) -> _Mark:
    """What a file has been read as: one that grows is another one whenever it is written."""
    return (file.path, file.size_bytes, file.time_ns) if trustyai_files.is_index(file.path) else (file.path, 0, 0)
