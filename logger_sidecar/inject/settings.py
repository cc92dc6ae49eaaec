"""Settings of the sidecar and its shipper that a workload chooses by annotation, checked by the settings themselves.

``driftline.io/max-body-bytes`` is ``max_body_bytes`` of the sidecar, ``driftline.io/shipper-topic`` the shipper's
``topic``. A setting that is added there is an annotation without anything to do here.
"""

import dataclasses
from collections.abc import Mapping

from driftline.errors import SettingsError
from driftline.names import ENV_PREFIX
from logger_sidecar.config_file import Sources
from logger_sidecar.pod_annotations import annotation_of
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.settings import ShipperSettings

_SHIPPER = "shipper_"
#: What an injection decides: where the sidecar is and what it stands in front of.
_DECIDED = frozenset(
    {
        "upstream",
        "listen_host",
        "listen_port",
        "admin_host",
        "admin_port",
        "spool_directory",
        "spool_max_bytes",
        "segment_bytes",
        "buffer_bytes",
        "namespace",
        "workload",
        "pod",
        "tls_certificate",
        "tls_key",
    }
)
#: The shipper's that come from elsewhere; passwords come from a Secret (``driftline.io/env-secret``).
_DECIDED_FOR_SHIPPER = frozenset(
    {
        "spool_directory",
        "sinks",
        "bootstrap_servers",
        "admin_port",
        "resource",
        "parent_pid",
        "sasl_password",
        "ssl_password",
    }
)
SIDECAR_SETTINGS = tuple(field.name for field in dataclasses.fields(SidecarSettings) if field.name not in _DECIDED)
SHIPPER_SETTINGS = tuple(
    _SHIPPER + field.name for field in dataclasses.fields(ShipperSettings) if field.name not in _DECIDED_FOR_SHIPPER
)


def environment_name(setting: str) -> str:
    """The variable of a setting as it is named here.

    >>> environment_name("max_body_bytes"), environment_name("shipper_topic")
    ('DRIFTLINE_SIDECAR_MAX_BODY_BYTES', 'DRIFTLINE_SHIPPER_TOPIC')
    """
    if setting.startswith(_SHIPPER):
        return f"{ENV_PREFIX}{setting.upper()}"
    return f"{ENV_PREFIX}SIDECAR_{setting.upper()}"


def setting_faults(settings: Mapping[str, str]) -> list[str]:
    """Everything wrong with these settings, each fault with the annotation it is about."""
    by_variable = {environment_name(name): name for name in settings}
    try:
        Sources({variable: settings[name] for variable, name in by_variable.items()}).read()
    except SettingsError as error:
        # Names of variables become names of annotations; longer ones first, for one may begin another.
        faults = list(error.faults)
        for variable in sorted(by_variable, key=len, reverse=True):
            shown = f"metadata.annotations['{annotation_of(by_variable[variable])}']"
            faults = [fault.replace(variable, shown) for fault in faults]
        # Files are in the cluster, not here; whether they are there the sidecar says when it starts.
        return [fault for fault in faults if "cannot be read" not in fault]
    return []
