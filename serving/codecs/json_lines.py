r"""JSON lines, as SageMaker's batches have them: one JSON value per line, and each line a row.

>>> values(b'{"age": 31}\n{"age": 44}\n')
[{'age': 31}, {'age': 44}]
"""

from typing import Any

from driftline.errors import DecodeError
from serving import json_body


def values(body: bytes) -> list[Any] | None:
    """The values, one per line; None where a line is not JSON, or there is but one."""
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) < 2:
        return None
    try:
        return [json_body.read_any(line) for line in lines]
    except DecodeError:
        return None
