"""A pod's time for its end is raised to what the sidecar inside it may take, and never lowered."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from logger_sidecar.inject.manifests import InjectError, InjectOptions, inject
from logger_sidecar.settings import SidecarSettings
from tests.logger_sidecar.test_inject import deployment

FIELD = "terminationGracePeriodSeconds"
GRACE = "driftline.io/grace-period-s"
OPTIONS = InjectOptions()
GOLDEN = Path(__file__).parent / "golden"


def workload(given: Any = None, grace: str = "") -> dict[str, Any]:
    document = deployment()
    if grace:
        document["metadata"]["annotations"][GRACE] = grace
    if given is not None:
        document["spec"]["template"]["spec"][FIELD] = given
    return document


def granted(document: dict[str, Any], options: InjectOptions = OPTIONS) -> Any:
    return inject([document], options)[0]["spec"]["template"]["spec"].get(FIELD)


def test_the_default_of_the_sidecar_fits_the_default_of_a_pod() -> None:
    assert SidecarSettings().grace_period_s <= 30
    assert granted(workload()) is None


@pytest.mark.parametrize(
    ("given", "grace", "expected"),
    [
        (10, "", 30),
        (0, "", 30),
        (600, "", 600),
        (None, "45", 45),
        (None, "45.2", 46),
        (40, "45", 45),
        (60, "45", 60),
        (None, "5", None),
        (5, "5", 5),
    ],
)
def test_it_is_raised_where_it_is_shorter_and_never_lowered(
    given: int | None, grace: str, expected: int | None
) -> None:
    assert granted(workload(given, grace)) == expected


def test_a_clusters_grace_period_counts_where_the_workload_names_none() -> None:
    options = InjectOptions(settings={"grace_period_s": "90"})
    assert granted(workload(), options) == 90
    assert granted(workload(grace="20"), options) is None


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_it_holds_for_every_kind_with_a_template(kind: str) -> None:
    assert granted({**workload(10), "kind": kind}) == 30


def test_it_holds_for_a_pod() -> None:
    spec = {"containers": [{"name": "server", "ports": [{"containerPort": 8000}]}], FIELD: 1}
    pod = {"kind": "Pod", "metadata": {"name": "p", "annotations": {"driftline.io/inject": "true"}}, "spec": spec}
    assert inject([pod], OPTIONS)[0]["spec"][FIELD] == 30


def test_injecting_twice_raises_once() -> None:
    once = inject([workload(10, "45")], OPTIONS)
    assert inject(once, OPTIONS) == once


@pytest.mark.parametrize("given", ["30", 1.5, True])
def test_what_is_no_number_of_seconds_is_refused(given: Any) -> None:
    with pytest.raises(InjectError, match=f"spec.{FIELD} is {given!r}"):
        inject([workload(given)], OPTIONS)


def custom_resources() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((GOLDEN / "inject-crd-input.yaml").read_text()))


@pytest.mark.parametrize(
    ("mode", "given", "expected"),
    [
        ("RawDeployment", None, 45),
        ("Standard", None, 45),
        # Knative refuses the field, and gives its pods the revision's timeout.
        ("Serverless", None, None),
        ("", None, None),
        # Where it stands, KServe takes it.
        ("", 40, 45),
        ("", 60, 60),
    ],
)
def test_an_inference_service_has_it_where_kserve_takes_it(mode: str, given: int | None, expected: int | None) -> None:
    for service in custom_resources()[:2]:
        service["metadata"]["annotations"][GRACE] = "45"
        if mode:
            service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = mode
        if given is not None:
            service["spec"]["predictor"][FIELD] = given
        assert inject([service], OPTIONS)[0]["spec"]["predictor"].get(FIELD) == expected


def test_a_seldon_deployment_says_it_because_its_own_default_is_shorter() -> None:
    seldon = custom_resources()[2]
    component = inject([seldon], OPTIONS)[0]["spec"]["predictors"][0]["componentSpecs"][0]
    assert component["spec"][FIELD] == 30
