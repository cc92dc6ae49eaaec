"""JSON answers of the model server."""

import msgspec
from fastapi import Response


def json_reply(content: object, status: int = 200) -> Response:
    """An answer with a JSON body."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def error_reply(status: int, error: Exception) -> Response:
    """The protocol's error object."""
    return json_reply({"error": str(error)}, status)
