"""Who a process is, as resource attributes of OpenTelemetry: on target_info, and on spans.

>>> resource_attributes({"OTEL_RESOURCE_ATTRIBUTES": "team=red%20one"}, {"service.name": "iris"})
{'service.name': 'iris', 'team': 'red one'}
"""

from collections.abc import Mapping
from urllib.parse import unquote


def resource_attributes(environ: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The attributes of this process: its ``own`` that have a value, and over them what OpenTelemetry's variables say.

    (opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables and .../resource/sdk)
    """
    found = {key: value for key, value in own.items() if value}
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, equals, value = pair.partition("=")
        if equals and key.strip():
            found[unquote(key.strip())] = unquote(value.strip())
    if environ.get("OTEL_SERVICE_NAME"):
        found["service.name"] = environ["OTEL_SERVICE_NAME"]
    return found
