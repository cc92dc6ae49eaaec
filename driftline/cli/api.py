"""Asking the collector's API from a command: its address, the token, and errors as one sentence."""

import os
from collections.abc import Collection, Mapping
from typing import IO, Annotated, Any

import typer

from driftline.cli.ports import HOST, Ports
from driftline.errors import PermanentError, UnavailableError

ENV_TOKEN = "DRIFTLINE_TOKEN"  # noqa: S105 - where it is, not what it is
#: Not DRIFTLINE_COLLECTOR_URL: that would be a setting of a collector started in the same shell, which has none such.
ENV_URL = "DRIFTLINE_URL"

#: The option of every command that asks a collector, and its default.
Url = Annotated[str, typer.Option(help="The collector's address.", envvar=ENV_URL)]
COLLECTOR = f"http://{HOST}:{Ports().collector}"


def authorization() -> dict[str, str]:
    """The header that says who asks, with the token of ``DRIFTLINE_TOKEN``; none where it is not set."""
    token = os.environ.get(ENV_TOKEN, "")
    return {"authorization": f"Bearer {token}"} if token else {}


def request_json(
    method: str,
    url: str,
    params: Mapping[str, Any] | None = None,
    body: object = None,
    timeout_s: float = 60.0,
    *,
    content: bytes | IO[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    also: Collection[int] = (),
) -> Any:
    """The JSON of an answer; raises UnavailableError without an answer, PermanentError for one that is no success.

    ``content``: bytes or a file to be sent instead of a ``body``, which is sent as JSON. ``also``: statuses that are an
    answer, too.
    """
    import httpx

    given = {name: value for name, value in (params or {}).items() if value is not None}
    shown = {**authorization(), **(headers or {})}
    try:
        answer = httpx.request(
            method, url, params=given, json=body, content=content, headers=shown, timeout=timeout_s, trust_env=False
        )
    except httpx.HTTPError as error:
        raise UnavailableError("collector", f"{url}: {error}") from error
    if answer.is_success or answer.status_code in also:
        return answer.json()
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:300]
    advice = f"; {ENV_TOKEN} holds the token" if answer.status_code == 401 else ""
    raise PermanentError(f"{url} answers {answer.status_code}: {detail}{advice}")
