"""The time that a pod has for its end: never less than the sidecar inside it is told to take.

Kubernetes gives a pod ``terminationGracePeriodSeconds`` for all of its end, 30 where it says nothing, and kills what
runs longer. A native sidecar is told to end when the model server has, so what the model server takes comes first.
"""

import math
from typing import Any

from logger_sidecar.inject.options import InjectError, InjectOptions
from logger_sidecar.settings import SidecarSettings

FIELD = "terminationGracePeriodSeconds"
#: Where a pod says nothing (kubernetes.io/docs/concepts/workloads/pods/pod-termination).
POD_DEFAULT_S = 30
#: Where a component of a SeldonDeployment says nothing (Seldon Core v1, seldondeployment_controller.go).
SELDON_DEFAULT_S = 20


def grant_grace(spec: dict[str, Any], options: InjectOptions, subject: str, default_s: int = POD_DEFAULT_S) -> None:
    """Raise the pod's time for its end to the sidecar's, in place, where it is shorter; raises InjectError.

    ``default_s``: what holds where ``spec`` says nothing. ``subject``: names the document in errors.
    """
    needed_s = math.ceil(_grace_period_s(options))
    given = spec.get(FIELD)
    stands_s = default_s if given is None else given
    if isinstance(stands_s, bool) or not isinstance(stands_s, int):
        raise InjectError(subject, [f"spec.{FIELD} is {given!r}, which is not a whole number of seconds"])
    if stands_s < needed_s:
        spec[FIELD] = needed_s


def _grace_period_s(options: InjectOptions) -> float:
    """The sidecar's ``grace_period_s``: an annotation's or the cluster's, which were checked, or the default."""
    chosen = options.settings.get("grace_period_s")
    return SidecarSettings().grace_period_s if chosen is None else float(chosen)
