"""Values of rows on their way from a tensor or a document to a column: stepping into them, and their features."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from driftline.columns import VectorColumn
from driftline.errors import DecodeError
from driftline.payload_paths import EVERY, Step
from serving import reasons
from serving.codecs.reading import ABSENT
from serving.column_values import numeric, shown
from serving.features import images, languages, texts, vectors
from serving.tensors import Tensor, Values

_TEXTS: Final[dict[str, Callable[[str], Any]]] = {
    "characters": texts.characters,
    "words": texts.words,
    "tokens": texts.tokens,
    "script": texts.script,
    "language": languages.language,
}
_IMAGES: Final = frozenset({"width", "height", "brightness", "contrast", "image_format"})


def walk(value: Any, steps: Sequence[Step]) -> Any:
    """What is at the end of the steps from ``value`` on: ABSENT where they lead nowhere."""
    for step in steps:
        if isinstance(step, int):
            if not isinstance(value, list) or not -len(value) <= step < len(value):
                return ABSENT
            value = value[step]
        elif isinstance(value, Mapping) and step in value:
            value = value[step]
        elif not (isinstance(value, bytes) and step == "b64"):  # TensorFlow's wrapping, which is off already
            return ABSENT
    return value


def from_document(document: Any, steps: Sequence[Step]) -> tuple[list[Any], bool] | None:
    """The values at a path of a document, and whether there is one for each row; None where there are none.

    >>> from_document({"data": [{"x": 1}, {"x": 2}]}, ("data", "*", "x"))
    ([1, 2], True)
    """
    if EVERY not in steps:
        value = walk(document, steps)
        return None if value is ABSENT else ([value], False)
    place = list(steps).index(EVERY)
    rows = walk(document, steps[:place])
    if not isinstance(rows, list):
        return None
    return [_none(walk(row, steps[place + 1 :])) for row in rows], True


def from_tensor(tensor: Tensor, steps: Sequence[Step]) -> Tensor | None:
    """The part of a tensor that steps lead to, with the same rows; None where they lead nowhere."""
    steps = steps[1:] if steps and steps[0] == EVERY else steps
    for taken, step in enumerate(steps):
        if len(tensor.shape) < 2:
            return _from_objects(tensor, steps[taken:])
        if not isinstance(step, int) or not -tensor.shape[1] <= step < tensor.shape[1]:
            return None
        tensor = _slice(tensor, step % tensor.shape[1])
    return tensor


def _slice(tensor: Tensor, place: int) -> Tensor:
    rows, width, *inner = tensor.shape
    block = int(np.prod(inner, dtype=np.int64)) if inner else 1
    values = tensor.values
    if isinstance(values, np.ndarray):
        part: Values = values.reshape(rows, width, block)[:, place].ravel()
    elif block == 1:
        part = values[place::width]
    else:
        starts = range(place * block, len(values), width * block)
        part = [value for start in starts for value in values[start : start + block]]
    return Tensor(tensor.name, tensor.datatype, (rows, *inner), part)


def _from_objects(tensor: Tensor, steps: Sequence[Step]) -> Tensor | None:
    if isinstance(tensor.values, np.ndarray):
        return None
    found = [walk(value, steps) for value in tensor.values]
    if all(value is ABSENT for value in found):
        return None
    return Tensor(tensor.name, "", tensor.shape, [_none(value) for value in found])


def _none(value: Any) -> Any:
    return None if value is ABSENT else value


# --- features -----------------------------------------------------------------------------------------------------
def feature_values(name: str, feature: str, tensor: Tensor) -> Values:
    """One value per row: the feature of each row of a tensor. Raises DecodeError naming column and row."""
    if feature in _IMAGES:
        return _each(tensor, lambda row, value: _image(name, row, feature, value))
    if feature in vectors.OF_ROWS:
        return _vectors(name, feature, tensor)
    if feature == "count":
        return _each(tensor, lambda row, value: _count(name, row, value))
    if feature == "bytes":
        return _each(tensor, lambda row, value: texts.size_bytes(_text(name, row, value, or_bytes=True)))
    make = _TEXTS[feature]
    return _each(tensor, lambda row, value: make(str(_text(name, row, value))))


def _each(tensor: Tensor, make: Callable[[int, Any], Any]) -> list[Any]:
    return [None if value is None else make(row, value) for row, value in enumerate(_rows(tensor))]


def _rows(tensor: Tensor) -> list[Any]:
    """Each row as one object: a value, or an array or list of what the row holds."""
    values, shape = tensor.values, tensor.shape
    if len(shape) < 2:
        return list(values)
    if isinstance(values, np.ndarray):
        return list(values.reshape(shape))
    if tensor.width == 1:
        return list(values)
    try:
        return list(np.array(values, np.float64).reshape(shape))
    except (ValueError, TypeError, OverflowError):
        return [values[start : start + tensor.width] for start in range(0, len(values), tensor.width)]


def _vectors(name: str, feature: str, tensor: Tensor) -> Values:
    if len(tensor.shape) > 1:
        flat = numeric(name, tensor.values)
        return vectors.of_rows(feature, flat.reshape(tensor.rows, -1) if tensor.rows else flat.reshape(0, 1))
    try:
        return vectors.of_lists(feature, _lists(name, tensor))
    except (ValueError, TypeError, OverflowError) as error:
        raise _no_numbers(name, error) from error


def vector_rows(name: str, dimension: int, tensor: Tensor) -> VectorColumn:
    """Each row's vector, shape (rows, dimension): NaN where there is none, or one of another length.

    Raises DecodeError where a row holds no list of numbers.
    """
    if len(tensor.shape) > 1 and tensor.width == dimension:
        return numeric(name, tensor.values).reshape(tensor.rows, dimension)
    found = np.full((tensor.rows, dimension), np.nan)
    if len(tensor.shape) > 1:
        return found
    lists = _lists(name, tensor)
    fitting = [row for row, value in enumerate(lists) if value is not None and len(value) == dimension]
    try:
        if fitting:
            found[fitting] = np.array([lists[row] for row in fitting], np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise _no_numbers(name, error) from error
    return found


def _lists(name: str, tensor: Tensor) -> list[list[Any] | None]:
    # A vector of one number may have lost its brackets on the way.
    rows: list[Any] = [[value] if isinstance(value, int | float) else value for value in tensor.values]
    for row, value in enumerate(rows):
        if value is not None and not isinstance(value, list):
            raise _wrong(name, row, value, "a list of numbers")
    return rows


def _no_numbers(name: str, error: Exception) -> DecodeError:
    return DecodeError(reasons.WRONG_TYPE, f"column '{name}' has a list with what is no number: {error}")


def _count(name: str, row: int, value: Any) -> int:
    if isinstance(value, list | Mapping | np.ndarray):
        return len(value)
    raise _wrong(name, row, value, "a list")


def _text(name: str, row: int, value: Any, *, or_bytes: bool = False) -> str | bytes:
    if isinstance(value, str) or (or_bytes and isinstance(value, bytes)):
        return value
    raise _wrong(name, row, value, "a text")


def _image(name: str, row: int, feature: str, value: Any) -> float | str:
    if isinstance(value, str | bytes):
        return images.of_encoded(feature, value)
    try:
        pixels = np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise _wrong(name, row, value, "an image") from error
    if feature == "image_format":
        return "pixels"
    return images.of_pixels(feature, pixels)


def _wrong(name: str, row: int, value: Any, expected: str) -> DecodeError:
    return DecodeError(reasons.WRONG_TYPE, f"column '{name}' has {shown(value)} in row {row}, which is not {expected}")
