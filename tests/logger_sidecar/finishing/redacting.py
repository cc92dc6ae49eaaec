"""Redaction of one event, for its tests."""

import json
from typing import Any

from driftline.events import InferenceEvent, Payload, encode_frame
from logger_sidecar.finishing.redaction import Redacted, Redactor
from logger_sidecar.finishing.redaction_rules import parse_rules

KEY = b"0123456789abcdef"


def redact(
    event: InferenceEvent | bytes, *rules: str, protocol: str = "v1", truncated: bool = False, **half: Any
) -> Redacted:
    parsed, faults = parse_rules(rules)
    assert faults == []
    if isinstance(event, bytes):
        event = InferenceEvent(
            id="1", source="/a/b/c", model="m", time_ns=0, request_id="r", protocol=protocol, status_code=200,
            request=Payload(body=event, **half), response=Payload(body=event, **half), truncated=truncated,
        )  # fmt: skip
    return Redactor(parsed, KEY, limit_bytes=10**6).redact(event)


def holds(redacted: Redacted, secret: str) -> bool:
    frame = encode_frame(redacted.event)
    forms = {secret, json.dumps(secret)[1:-1], secret.encode("utf-16-le").decode("latin-1")}
    return any(form.encode("utf-8") in frame or form.encode("latin-1", "replace") in frame for form in forms)
