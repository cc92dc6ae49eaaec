"""The language of a text, by py3langid (extra ``texts``): the one place that knows the library."""

import functools
import importlib
from typing import Any

from driftline.errors import DecodeError
from serving import reasons

#: So many characters say the language of a text; more cost time and change nothing.
_LOOKED_AT = 4000


def language(text: str) -> str | None:
    """ISO 639-1 code of the most likely of 97 languages; None for a text without letters. Raises DecodeError."""
    beginning = text[:_LOOKED_AT]
    if not any(map(str.isalpha, beginning)):
        return None
    return str(_library().classify(beginning)[0])


@functools.cache
def _library() -> Any:
    # By name and not at the top: few need it, and its model takes a quarter of a second and 20 MB.
    try:
        return importlib.import_module("py3langid")
    except ImportError as error:
        raise DecodeError(
            reasons.UNSUPPORTED_FORMAT, "as: language needs py3langid; install driftline with the extra 'texts'"
        ) from error
