"""The manual names everything that there is, and names nothing that is not there."""

import re
from pathlib import Path

import pytest
import typer

from detectors.evaluating.catalogue import CATALOGUE
from driftline.cli.app import app
from driftline.names import ALL_METRICS
from driftline.reasons import REASONS
from logger_sidecar.shipping.object_parquet import SCHEMA
from logger_sidecar.shipping.sink_urls import SCHEMES
from tests.docs_pages import (
    API_PAGE,
    METRICS_PAGE,
    MONITOR_PAGE,
    OPENAPI_FILE,
    PARTS,
    SETTINGS_PAGE,
    api_page,
    metrics_page,
    monitor_page,
    openapi_file,
    settings_page,
)
from tests.house import ROOT, own_files

SINKS_PAGE = ROOT / "docs" / "sinks.md"
PAGES = [path for path in own_files() if path.suffix == ".md" and path.relative_to(ROOT).parts[0] != "tests"]


def test_the_page_of_metrics_is_as_the_code_has_it() -> None:
    assert METRICS_PAGE.read_text() == metrics_page(), "run python -m tests.docs_pages"


def test_the_pages_of_the_api_are_as_the_code_has_it() -> None:
    assert API_PAGE.read_text() == api_page(), "run python -m tests.docs_pages"
    assert OPENAPI_FILE.read_text() == openapi_file(), "run python -m tests.docs_pages"


def test_the_page_of_the_monitor_is_as_the_code_has_it() -> None:
    assert MONITOR_PAGE.read_text() == monitor_page(), "run python -m tests.docs_pages"


def test_the_page_of_the_sidecars_settings_is_as_the_code_has_it() -> None:
    assert SETTINGS_PAGE.read_text() == settings_page(), "run python -m tests.docs_pages"


def test_every_option_of_a_sink_is_in_the_manual() -> None:
    text = SINKS_PAGE.read_text()
    options = {option for scheme in SCHEMES.values() for option in scheme.options}
    assert sorted(one for one in options if not re.search(rf"[`?]{one}[`=]", text)) == []


def test_the_columns_of_parquet_are_in_the_manual_and_no_others() -> None:
    (table,) = re.findall(r"\| column \| type \|\n(.*?)\n\n", SINKS_PAGE.read_text(), re.DOTALL)
    named = set(re.findall(r"`(\w+)`", table))
    columns = set(SCHEMA.names)
    assert named <= columns
    assert {column.replace("response_", "request_") for column in columns - named} <= named  # `response_...`


def test_every_field_of_a_monitor_is_in_the_manual() -> None:
    text = MONITOR_PAGE.read_text()
    assert [
        name
        for _, part in PARTS
        for name, field in part.model_fields.items()
        if f"| `{field.alias or name}` |" not in text
    ] == []


def commands() -> list[str]:
    """Every command as it is typed."""
    group = typer.main.get_command(app)
    found = []
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [f"driftline {name}"] if inner is None else [f"driftline {name} {each}" for each in sorted(inner)]
    return found


def test_there_are_commands() -> None:
    assert len(commands()) > 10


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_manual(command: str) -> None:
    text = "\n".join(path.read_text() for path in PAGES if path.relative_to(ROOT).parts[0] == "docs")
    assert command in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_no_metric_that_is_not_there(page: Path) -> None:
    known = {metric.name for metric in ALL_METRICS}
    named = set(re.findall(r"\bdriftline_[a-z_]+_(?:total|seconds|bytes|ratio|rows|lag)\b", page.read_text()))
    assert named - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """What a page's headings are linked by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text())
    own = [(page.parent / link if link else page, heading) for link, heading in links if "://" not in link]
    assert [(target.name, heading) for target, heading in own if heading not in anchors(target)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_named_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", page.read_text())) - targets == set()


def test_every_decision_is_in_the_list_by_its_title() -> None:
    folder = ROOT / "docs" / "decisions"
    text = (folder / "README.md").read_text().lower()
    pages = {page.name: page.read_text().splitlines()[0].partition(": ")[2] for page in folder.glob("0*.md")}
    assert [name for name, title in pages.items() if f"({name}) | {title.lower()} |" not in text] == []


@pytest.mark.parametrize("name", [entry.name for entry in CATALOGUE])
def test_every_detector_has_its_place_in_the_manual(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "detectors.md").read_text()
    page = ROOT / "docs" / "detectors" / f"{name.partition(':')[0]}.md"
    assert f"`{name}`" in page.read_text()


def test_every_reason_of_a_dead_letter_is_in_the_manual() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [r for r in REASONS.values() if f"| `{r.word}` | {r.meaning} | {r.advice} |" not in text] == []
