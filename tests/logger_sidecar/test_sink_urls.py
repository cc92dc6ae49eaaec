"""Sinks as URLs: what is right is read, and every fault is named before anything starts."""

import sys

import pytest

from driftline.errors import SettingsError
from driftline.settings import load
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SCHEMES, faults, parse
from logger_sidecar.shipping.sinks import open_sink


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("kafka", "kafka", {}),
        ("https://broker.ns/default?form=structured", "https-broker.ns-default", {"form": "structured"}),
        ("http://127.0.0.1:8080/?name=trustyai&connections=2", "trustyai", {"form": "kserve", "connections": 2}),
        ("s3://bucket/some/prefix?format=jsonl", "s3-bucket-some-prefix", {"format": "jsonl", "path_style": True}),
        ("file:///var/events?max_age=5&compression=gzip", "file-var-events", {"max_age": 5.0, "compression": "gzip"}),
        ("gs://bucket", "gs-bucket", {"format": "parquet"}),
    ],
)
def test_a_sink_is_read_with_its_options_and_has_a_name(text: str, name: str, options: dict[str, object]) -> None:
    found = parse(text)
    assert found.name == name
    assert {key: found.options[key] for key in options} == options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kafak", "did you mean 'kafka'"),
        ("ftp://host/x", "must be one of kafka, http"),
        ("https:///x", "it names no host"),
        ("https://user:secret@host/", "it holds credentials"),
        ("https://host/?form=kserv", "form is 'kserv'; it must be one of kserve, binary, structured"),
        ("https://host/?froms=kserve", "did you mean 'form'"),
        ("https://host/?timeout=soon", "timeout is 'soon'; it must be a number of seconds above 0"),
        ("https://host/?cert_file=/a", "cert_file and key_file belong together"),
        ("http://host/?token_file=/a", "a token or a certificate needs https"),
        ("otlp+http://host?token_file=/a", "a token or a certificate needs https"),
        ("otlp+http://host?ca_file=/a", "a token or a certificate needs https"),
        ("https://host/?form=kserve&form=binary", "'form' is there more than once"),
        ("kafka://broker:9092/topic", "it must be 'kafka' alone; brokers and topic are the shipper's"),
        ("kafka:9092", "it must be 'kafka' alone"),
        ("file://host/x", "it must be file:///PATH"),
        ("s3://bucket?batch_events=0", "batch_events is '0'; it must be a whole number from 1"),
        ("s3://bucket?name=a/b", "its name 'a/b' must be letters"),
        ("https://host:99999/", "it is not a URL"),
    ],
)
def test_each_fault_is_named(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_library_that_is_not_there_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf.message", None)
    monkeypatch.delitem(sys.modules, SCHEMES["otlp+http"].module, raising=False)
    with pytest.raises(SettingsError, match="the extra 'otlp' has it"):
        open_sink(parse("otlp+http://host"), ShipperSettings())


def test_two_sinks_of_one_name_would_share_a_position() -> None:
    assert faults(["kafka", "https://a/b", "http://c/?name=https-a-b"]) == [
        "sinks holds two of the name 'https-a-b': 'https://a/b' and 'http://c/?name=https-a-b'; give one a name="
    ]


def test_all_faults_of_all_sinks_are_told_before_anything_starts() -> None:
    given = {"DRIFTLINE_SIDECAR_SINKS": "kafka, ftp://x, s3://?format=xml"}
    with pytest.raises(SettingsError) as caught:
        load(SidecarSettings, "SIDECAR", environ=given)
    found = str(caught.value)
    assert all(words in found for words in ("ftp://x", "it names no host", "format is 'xml'"))


def test_no_sinks_is_a_choice() -> None:
    assert load(SidecarSettings, "SIDECAR", environ={"DRIFTLINE_SIDECAR_SINKS": ""}).sinks == ()
    assert ShipperSettings().sinks == SidecarSettings().sinks == ("kafka",)


def test_every_option_has_a_default_that_it_would_accept() -> None:
    for scheme in SCHEMES.values():
        for option in scheme.options.values():
            if option.default != "":
                text = str(option.default).lower() if isinstance(option.default, bool) else str(option.default)
                assert option.read(text) == option.default
