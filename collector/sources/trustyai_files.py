"""Files that TrustyAI's service keeps in a volume: which of them belong together, and what they hold.

Three a model, that grow with every inference. Its Java edition writes CSV (``trustyai_csv``): ``MODEL-data.csv``,
``MODEL-internal_data.csv``, ``MODEL-metadata.json``. Its Python edition writes HDF5 (``trustyai_hdf5``):
``MODEL_inputs_FILE``, ``MODEL_outputs_FILE``, ``MODEL_metadata_FILE``, where FILE is what the service was told
(``trustyai.hdf5``; its operator says ``data.csv`` for either edition).
"""

import re
from collections.abc import Iterator, Sequence

from collector.sources import trustyai_csv, trustyai_hdf5
from collector.sources.trustyai_rows import TRUTHS, Item

_INDEX = "-internal_data.csv"
_DATA = "-data.csv"
_SCHEMA = "-metadata.json"
#: What the service writes for itself, not about one model.
_OWN = "trustyai_internal_"
_HDF5 = re.compile(r"(?:.*/)?(?P<model>[^/]+)_(?P<part>inputs|outputs|metadata)_(?:[^/]+\.(?:hdf5|h5)|data\.csv)")


def is_index(path: str) -> bool:
    """Whether a file says what the rows of two others are.

    >>> is_index("kept/flights-internal_data.csv"), is_index("flights_metadata_trustyai.hdf5"), is_index("a.csv")
    (True, True, False)
    """
    if stored := _HDF5.fullmatch(path):
        return stored["part"] == "metadata" and not _is_own(stored["model"])
    return path.endswith(_INDEX) and not path.endswith(TRUTHS + _INDEX)


def is_companion(path: str) -> bool:
    """Whether a file is one that is read with another, or holds TrustyAI's own labels, and so is no file of its own."""
    if _HDF5.fullmatch(path):
        return not is_index(path)
    return path.endswith((_DATA, _SCHEMA, TRUTHS + _INDEX))


def companions(path: str) -> tuple[str, str]:
    """The two files that are read with an index."""
    if stored := _HDF5.fullmatch(path):
        first, after = stored.span("part")
        return path[:first] + "inputs" + path[after:], path[:first] + "outputs" + path[after:]
    return path.removesuffix(_INDEX) + _DATA, path.removesuffix(_INDEX) + _SCHEMA


def read_stored(path: str, index: bytes, others: Sequence[bytes]) -> Iterator[Item]:
    """The inferences in the order they were kept; ``others``: the content of :func:`companions`.

    Raises EventError, UnevenError where it may be too early to tell, MissingLibraryError.
    """
    if stored := _HDF5.fullmatch(path):
        return trustyai_hdf5.read_stored(path, stored["model"], index, *others)
    model = path.rsplit("/", 1)[-1].removesuffix(_INDEX)
    return trustyai_csv.read_stored(path, model, index, *others)


def _is_own(model: str) -> bool:
    return model.startswith(_OWN) or model.endswith(TRUTHS)
