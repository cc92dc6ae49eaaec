"""Window states between two commits: read once, changed in memory, written together, forgotten on failure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from collector.store.transaction import StateKey, WindowState

ReadStates = Callable[[Iterable[StateKey]], Mapping[StateKey, WindowState]]


class StateCache:
    """The newest committed states of open windows, at most ``limit`` of them.

    A partition's states are right as long as nobody else moves its position; a writer that finds its position moved
    calls ``forget``.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._states: dict[StateKey, WindowState | None] = {}

    def get(self, key: StateKey) -> WindowState | None:
        """The state as last committed; None when there is none yet. Raises KeyError when it is not known here."""
        return self._states[key]

    def keep(self, states: Mapping[StateKey, WindowState | None]) -> None:
        """Take in what was committed; what was not used longest goes first."""
        for key, state in states.items():
            self._states.pop(key, None)
            self._states[key] = state
        for key in list(self._states)[: max(0, len(self._states) - self._limit)]:
            del self._states[key]

    def drop(self, partitions: Collection[str]) -> None:
        """Trust nothing that was kept of these partitions: nobody looks any more whether others move them."""
        if partitions:
            self._states = {key: state for key, state in self._states.items() if key.partition not in partitions}

    def forget(self) -> None:
        """Trust nothing that was kept."""
        self._states.clear()


class StateBook:
    """The states one transaction reads and changes, over a cache of earlier ones."""

    def __init__(self, cache: StateCache) -> None:
        self._cache = cache
        self._states: dict[StateKey, WindowState | None] = {}
        self._changed: set[StateKey] = set()

    def load(self, keys: Iterable[StateKey], read: ReadStates) -> None:
        """Make ``keys`` known, reading only those that neither book nor cache knows."""
        missing = []
        for key in keys:
            if key in self._states:
                continue
            try:
                self._states[key] = self._cache.get(key)
            except KeyError:
                missing.append(key)
        if missing:
            found = read(missing)
            self._states.update({key: found.get(key) for key in missing})

    def update(self, key: StateKey, change: Callable[[bytes | None], bytes], count: int) -> None:
        """Replace the state of a loaded key; ``count`` rows or labels went into the change."""
        old = self._states[key]
        state = change(old.state if old else None)
        self._states[key] = WindowState(state, (old.change if old else 0) + count)
        self._changed.add(key)

    def update_many(
        self, keys: Sequence[StateKey], change: Callable[[list[bytes | None]], list[bytes]], counts: Sequence[int]
    ) -> None:
        """As :meth:`update`, for many keys at once."""
        olds = [self._states[key] for key in keys]
        states = change([old.state if old else None for old in olds])
        for key, old, state, count in zip(keys, olds, states, counts, strict=True):
            self._states[key] = WindowState(state, (old.change if old else 0) + count)
            self._changed.add(key)

    def changed(self) -> dict[StateKey, WindowState]:
        """What has to be written."""
        states = ((key, self._states[key]) for key in self._changed)
        return {key: state for key, state in states if state is not None}

    def committed(self) -> None:
        """The transaction went through: what was changed is now the truth."""
        self._cache.keep(dict(self.changed()))
