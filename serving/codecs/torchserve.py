"""TorchServe's predictions, and every server that takes a body as it is: an image, a text, one JSON object.

A body that is no document is one row with the field ``body``. An object that maps classes to shares, as TorchServe's
image classifiers answer, is the class with the largest share and the share of the positive class.
Source: https://pytorch.org/serve/inference_api.html
"""

from collections.abc import Collection, Mapping
from typing import Any

from serving.codecs.tf_serving import CLASS, SHARE
from serving.codecs.v1 import rows_to_tensors
from serving.tensors import Tensor

#: The name of the only field of a body without fields.
BODY = "body"
#: Shares of the best classes may add up to less than one, but to no more (in half precision: by a few thousandths).
_MOST = 1.005


def body_tensor(body: bytes) -> Tensor:
    """The whole body as one row: a text where it is UTF-8."""
    try:
        return Tensor(BODY, "", (1,), [body.decode()])
    except UnicodeDecodeError:
        return Tensor(BODY, "", (1,), [body])


def object_tensors(document: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    """The ``wanted`` fields of an object that is one row; none where it has none of them."""
    return rows_to_tensors("the object", [document], wanted) if not set(wanted).isdisjoint(document) else []


def class_tensors(document: Mapping[str, Any], positive: str) -> list[Tensor]:
    """Class and share where an object maps classes to shares, else none.

    >>> [(tensor.name, tensor.values) for tensor in class_tensors({"cat": 0.7, "dog": 0.2}, "dog")]
    [('class', ['cat']), ('share', [0.2])]
    """
    shares = [share for share in document.values() if isinstance(share, float | int) and not isinstance(share, bool)]
    is_whole = len(shares) == len(document) and len(shares) > 1
    if not is_whole or not all(0 <= share <= 1 for share in shares) or sum(shares) > _MOST:
        return []
    best = max(document, key=lambda name: document[name])
    found = [Tensor(CLASS, "", (1,), [best])]
    return [*found, Tensor(SHARE, "", (1,), [document[positive]])] if positive in document else found
