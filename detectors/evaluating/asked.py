"""Which detectors look at which columns: the order of a window's results, worked out once per reference."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.evaluating.picking import Picker, picker
from detectors.statistics.reasons import title


@dataclass(frozen=True, slots=True)
class Asked:
    """The results of watched columns: by column in the monitor's order, of each by detector, the deciding one first.

    ``places``: of every column, in which block it is and where there. ``sizes``: columns of each block. ``names``:
    detectors of each block's columns.
    """

    columns: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]

    #: By result: column, detector, what its statistic is called, how its sentence begins where the column is quiet; the
    #: column's number.
    column: list[str] = field(init=False, repr=False)
    detector: list[str] = field(init=False, repr=False)
    title: list[str] = field(init=False, repr=False)
    quiet: list[str] = field(init=False, repr=False)
    owner: list[int] = field(init=False, repr=False)
    #: By result: its place among what all detectors of all blocks found, one after the other.
    found: NDArray[np.intp] = field(init=False, repr=False)
    #: They take what is known by column, or by detector of all blocks, as it is by result; and what is known by column
    #: of all blocks, one after the other, as it is by column.
    of_owners: Picker = field(init=False, repr=False)
    of_finders: Picker = field(init=False, repr=False)
    of_places: Picker = field(init=False, repr=False)
    #: By place in the lists of detectors: what takes its results, by column, out of all with None as the last one, for
    #: columns whose list is shorter.
    ranked: list[Picker] = field(init=False, repr=False)
    #: What takes by result what is known by place in the lists of detectors and by column, one place's after the other.
    of_ranked: Picker = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts = np.cumsum((0, *self.sizes)).tolist()
        finders = np.cumsum((0, *map(len, self.names))).tolist()
        widths = [size for size, names in zip(self.sizes, self.names, strict=True) for _ in names]
        begins = np.cumsum((0, *widths)).tolist()
        rows = [
            (number, rank, finders[block] + rank, begins[finders[block] + rank] + place)
            for number, (block, place) in enumerate(self.places)
            for rank in range(len(self.names[block]))
        ]
        owner, finder, found = ([row[part] for row in rows] for part in (0, 2, 3))
        known = {(number, rank): result for result, (number, rank, *_) in enumerate(rows)}
        numbers = range(len(self.columns))
        detectors = [name for names in self.names for name in names]
        ranked = [
            picker([known.get((number, rank), -1) for number in numbers])
            for rank in range(max(map(len, self.names), default=0))
        ]
        titles = [title(detectors[number]) for number in finder]
        for name, value in {
            "column": [self.columns[number] for number in owner],
            "detector": [detectors[number] for number in finder],
            "title": titles,
            "quiet": [
                f"{self.columns[number]} is as expected: {called} "
                for number, called in zip(owner, titles, strict=True)
            ],
            "owner": owner,
            "found": np.array(found, dtype=np.intp),
            "of_owners": picker(owner),
            "of_finders": picker(finder),
            "of_places": picker([starts[block] + place for block, place in self.places]),
            "ranked": ranked,
            "of_ranked": picker([rank * len(self.columns) + number for number, rank, *_ in rows]),
        }.items():
            object.__setattr__(self, name, value)
