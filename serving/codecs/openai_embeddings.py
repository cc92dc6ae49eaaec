"""OpenAI's embeddings: one row per input, ``prompt`` its text and ``embedding`` its vector, as floats or base64."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from driftline.errors import DecodeError
from serving import reasons
from serving.codecs.openai import objects, one_row, usage_fields
from serving.tensors import Tensor


def is_answer(document: Mapping[str, Any]) -> bool:
    """A list of objects with embeddings."""
    data = document.get("data")
    return isinstance(data, list) and "embedding" in next(iter(objects(data)), {})


def answer_tensors(document: Mapping[str, Any]) -> list[Tensor]:
    """The vectors in the order of the inputs; raises DecodeError where one is no vector."""
    items = objects(document["data"])
    ordered = sorted(items, key=lambda item: item["index"] if isinstance(item.get("index"), int) else 0)
    vectors = [_vector(place, item.get("embedding")) for place, item in enumerate(ordered)]
    found = [Tensor("embedding", "", (len(vectors),), vectors)]
    if len(vectors) == 1:
        found += one_row(usage_fields(document.get("usage")))
    return found


def _vector(place: int, embedding: object) -> list[Any]:
    if isinstance(embedding, list):
        return embedding
    try:
        if not isinstance(embedding, str):
            raise TypeError(f"it is {type(embedding).__name__}")
        vector: list[Any] = np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").tolist()
    except (binascii.Error, ValueError, TypeError) as error:
        raise DecodeError(
            reasons.MALFORMED, f"data[{place}].embedding is neither numbers nor base64 of float32: {error}"
        ) from error
    return vector
