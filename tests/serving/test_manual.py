"""The manual's page of codecs names all features, reasons and measured fields, and its monitor is one."""

import re
from typing import get_args

import pytest

from driftline.features import CategoricalFeature, NumericFeature
from driftline.monitors import parse_monitor
from driftline.payload_paths import EVENT_FIELDS, parse_path
from serving import reasons
from tests.house import ROOT

PAGE = (ROOT / "docs" / "codecs.md").read_text()
WORDS = (*get_args(NumericFeature), *get_args(CategoricalFeature), *reasons.ALL, *EVENT_FIELDS)


@pytest.mark.parametrize("word", WORDS)
def test_the_page_names_every_feature_reason_and_measured_field(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_the_monitor_on_the_page_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert parse_monitor(text, "codecs.md").model == "support-chat"


def test_the_paths_on_the_page_are_paths() -> None:
    table = PAGE.partition("| path | is |")[2].partition("\n\n")[0]
    paths = [path for line in table.splitlines()[2:] for path in re.findall(r"`([^`]+)`", line.split("|")[1])]
    assert len(paths) >= 9
    for path in paths:
        parse_path(path)
