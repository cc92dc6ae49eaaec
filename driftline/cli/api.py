"""Asking the collector's API from a command: its address, the token, and errors as one sentence."""

import os
from collections.abc import Mapping
from typing import Any

from driftline.errors import PermanentError, UnavailableError

ENV_TOKEN = "DRIFTLINE_TOKEN"  # noqa: S105 - where it is, not what it is


def authorization() -> dict[str, str]:
    """The header that says who asks, with the token of ``DRIFTLINE_TOKEN``; none where it is not set."""
    token = os.environ.get(ENV_TOKEN, "")
    return {"authorization": f"Bearer {token}"} if token else {}


def ask(
    method: str, url: str, params: Mapping[str, Any] | None = None, body: object = None, timeout_s: float = 60.0
) -> Any:
    """The JSON of an answer; raises UnavailableError when nobody answers, PermanentError when it is no success."""
    import httpx

    given = {name: value for name, value in (params or {}).items() if value is not None}
    try:
        answer = httpx.request(
            method, url, params=given, json=body, headers=authorization(), timeout=timeout_s, trust_env=False
        )
    except httpx.HTTPError as error:
        raise UnavailableError("collector", f"{url}: {error}") from error
    if answer.is_success:
        return answer.json()
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:300]
    advice = f"; {ENV_TOKEN} holds the token" if answer.status_code == 401 else ""
    raise PermanentError(f"{url} answers {answer.status_code}: {detail}{advice}")
