"""The process group: it waits for what it starts, starts again what dies, and says why when it gives up."""

from pathlib import Path

import pytest

from driftline.cli.ports import Ports, free_ports
from driftline.cli.processes import MAX_RESTARTS, Group, Part
from driftline.errors import UnavailableError
from tests.parts.http import WebhookReceiver
from tests.parts.processes import free_ports as parts_ports
from tests.parts.processes import wait_until


@pytest.mark.slow
def test_a_part_that_ends_before_it_is_ready_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    part = Part("schema", ("no-such-command",), {}, "http://127.0.0.1:1/")
    (tmp_path / "schema.log").write_text("of an earlier start\n")
    with (
        Group(tmp_path, print) as group,
        pytest.raises(UnavailableError, match=r"(?s)schema .*no-such-command") as told,
    ):
        group.start([part])
    assert "of an earlier start" not in str(told.value)


@pytest.mark.slow
def test_a_part_that_dies_is_started_again_but_not_for_ever(tmp_path: Path) -> None:
    said: list[str] = []
    with Group(tmp_path, said.append) as group:
        group.start([Part("short", ("--version",), {})])

        def gives_up() -> bool:
            try:
                group.supervise()
            except UnavailableError as error:
                said.append(str(error))
                return True
            return False

        wait_until(gives_up, 400, "the group to give up", pause_s=0.05)
    assert said[-1].startswith("short is unavailable: keeps dying; its log is")
    assert said[:-1] == ["short ended with code 0; starting it again"] * MAX_RESTARTS


@pytest.mark.slow
def test_leaving_the_group_ends_its_parts(tmp_path: Path) -> None:
    monitors = tmp_path / "monitors"
    monitors.mkdir()
    (monitors / "m.yaml").write_text("model: m\ntask: binary\ncolumns: [{name: x, type: numeric}]\n")
    [port] = parts_ports(1)
    ports = free_ports(Ports(detectors=port))
    assert ports.detectors == port
    arguments = ("detectors", "--monitors", str(monitors), "--port", str(ports.detectors))
    environ = {"DRIFTLINE_DATABASE_URL": f"sqlite:///{tmp_path / 'store.db'}", "DRIFTLINE_DATA_DIR": str(tmp_path)}
    health = f"http://127.0.0.1:{ports.detectors}/healthz"
    with Group(tmp_path, print) as group:
        group.start([Part("detectors", arguments, environ, health)])
        group.supervise()
    again = free_ports(Ports(detectors=ports.detectors))
    assert again.detectors == ports.detectors


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with WebhookReceiver() as receiver:
        taken = int(receiver.url.rstrip("/").rsplit(":", 1)[1])
        ports = free_ports(Ports(web=taken))
    assert ports.web != taken
    assert len({getattr(ports, name) for name in Ports.__dataclass_fields__}) == len(Ports.__dataclass_fields__)
