"""Fixtures of the harm tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logger_sidecar.harm.rig import Figures, SidecarProcess, echo_server, sidecar_process


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """Where figures go: printed (``-s`` shows them) and kept in ``harm.txt``."""
    return Figures(tmp_path_factory.getbasetemp() / "harm.txt")


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a model server that the module shares."""
    with echo_server(tmp_path_factory.mktemp("echo")) as port:
        yield port


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory, echo: int) -> Iterator[SidecarProcess]:
    """A sidecar that nothing is wrong with, to compare with."""
    directory: Path = tmp_path_factory.mktemp("healthy")
    with sidecar_process(directory, echo) as running:
        yield running
