"""Settings from file, environment, annotations and arguments: who wins, and how every fault is named."""

import re
from pathlib import Path

import pytest
import yaml

from driftline.errors import SettingsError
from logger_sidecar.config_file import SECTIONS, Sources
from logger_sidecar.pod_annotations import LIVE_ANNOTATIONS, parse_annotations
from logger_sidecar.reload import LIVE, follow
from logger_sidecar.setting_tables import describe, example_config
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.settings import ShipperSettings

SECRET = "which holds credentials and is never captured"


def faults(text: str, tmp_path: Path, **environ: str) -> list[str]:
    file = tmp_path / "conf.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Sources(environ, file).read()
    return [fault.replace(str(file), "conf.yaml") for fault in caught.value.faults]


def test_arguments_beat_annotations_which_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file, annotations = tmp_path / "conf.yaml", tmp_path / "annotations"
    file.write_text("sidecar: {sample_rate: 0.1, variant: file, workload: file, model: file}\nshipper: {topic: t}\n")
    annotations.write_text('driftline.io/variant="annotated"\ndriftline.io/sample-rate="0.3"\napp="x"\n')
    environ = {
        "DRIFTLINE_SIDECAR_SAMPLE_RATE": "0.2",
        "DRIFTLINE_SIDECAR_VARIANT": "environment",
        "DRIFTLINE_SIDECAR_WORKLOAD": "environment",
    }
    found = Sources(
        environ, file, annotations, arguments={"sidecar": {"sample_rate": 0.4}, "shipper": {"acks": None}}
    ).read()
    chosen = found.sidecar
    assert (chosen.sample_rate, chosen.variant, chosen.workload, chosen.model) == (
        0.4,
        "annotated",
        "environment",
        "file",
    )
    assert found.shipper is not None
    assert found.shipper.topic == "t"


def test_the_shipper_takes_directory_and_sinks_from_the_sidecar_and_is_none_without_sinks(tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    file.write_text("sidecar: {spool_directory: /spool, sinks: [kafka, 'https://sink/x']}")
    shipper = Sources({}, file).read().shipper
    assert shipper is not None
    assert (shipper.spool_directory, shipper.sinks) == (Path("/spool"), ("kafka", "https://sink/x"))
    file.write_text("sidecar: {sinks: []}")
    assert Sources({}, file).read().shipper is None


def test_every_fault_of_file_and_environment_is_named_at_once_with_file_key_value_and_nearest_name(
    tmp_path: Path,
) -> None:
    text = """
sidecar:
  sample_rat: 0.1
  listen_port: http
  admin_port: 70000
  capture_headers: [x-team, Authorization]
shipper:
  acks: most
  topc: t
"""
    found = faults(text, tmp_path, DRIFTLINE_SIDECAR_WORKLOD="w", DRIFTLINE_SHIPPER_LINGER_MS="soon")
    assert found == [
        "conf.yaml: sidecar key 'sample_rat' is not a setting; did you mean 'sample_rate'?",
        "conf.yaml: sidecar key 'listen_port' is 'http', which is not a whole number",
        "DRIFTLINE_SIDECAR_WORKLOD is not a setting; did you mean 'workload'?",
        "admin_port is 70000; it must be between 0 and 65535 (conf.yaml: sidecar key 'admin_port')",
        f"capture_headers names 'Authorization', {SECRET} (conf.yaml: sidecar key 'capture_headers')",
        "conf.yaml: shipper key 'acks' is 'most', which is not one of all, 1",
        "conf.yaml: shipper key 'topc' is not a setting; did you mean 'topic'?",
        "DRIFTLINE_SHIPPER_LINGER_MS is 'soon', which is not a whole number",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1", "conf.yaml holds list, not the sections sidecar and shipper"),
        ("sidecars: {}", "conf.yaml key 'sidecars' is not a section; did you mean 'sidecar'?"),
        (
            "sample_rate: 1",
            "key 'sample_rate' is not a section; it is a setting and belongs under 'sidecar:'",
        ),
        ("sidecar: 5", "conf.yaml key 'sidecar' is '5', which is not a mapping of settings"),
        ("sidecar: [", "conf.yaml is not YAML"),
        ("sidecar: {variant: 2026-13-41}", "conf.yaml is not YAML: month must be in 1..12"),
        ("sidecar: {max_models: !!int many}", "conf.yaml is not YAML: invalid literal for int()"),
        ("sidecar: {max_models: !!int ''}", "conf.yaml is not YAML: string index out of range"),
        ("sidecar: {variant: !!timestamp soon}", "conf.yaml is not YAML"),
        ("sidecar: " + "[" * 5000, "conf.yaml is not YAML: maximum recursion depth exceeded"),
        ("sidecar:\n  variant: a\n  variant: b\n", "key 'variant' stands twice, again in line 3"),
        ("sidecar: {keep_slower_than_s: -1}", "keep_slower_than_s is -1; it must not be below 0"),
        ("sidecar: {keep_headers: ['x y']}", "keep_headers names 'x y', which is not a header"),
        ("sidecar: {keep_headers: ['Cookie=1']}", "keep_headers names 'cookie', which holds credentials"),
    ],
)
def test_a_wrong_file_is_refused_with_its_fault(text: str, told: str, tmp_path: Path) -> None:
    (fault,) = faults(text, tmp_path)
    assert told in fault


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml cannot be read: No such file"):
        Sources({}, tmp_path / "none.yaml").read()


def test_an_empty_file_and_empty_sections_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    for text in ("", "sidecar:\nshipper:\n", "---\n# nothing\n"):
        file.write_text(text)
        assert Sources({}, file).read() == Sources({}).read()


def test_the_printed_configuration_is_one_that_changes_nothing_and_names_every_setting(tmp_path: Path) -> None:
    text = example_config()
    file = tmp_path / "conf.yaml"
    file.write_text(text)
    assert Sources({}, file).read() == Sources({}).read()
    everything = re.sub(r"^  #(?! )", "  ", text, flags=re.MULTILINE)
    parsed = yaml.safe_load(everything)
    for section, cls in SECTIONS.items():
        assert list(parsed[section]) == list(cls.__dataclass_fields__)
    file.write_text(everything)
    assert Sources({}, file).read() == Sources({}).read()


@pytest.mark.parametrize("cls", [SidecarSettings, ShipperSettings])
def test_every_setting_says_what_it_means(cls: type) -> None:
    assert [entry.name for entry in describe(cls) if len(entry.meaning) < 10] == []


def test_what_is_followed_while_running_are_settings() -> None:
    assert set(SidecarSettings.__dataclass_fields__) >= LIVE
    assert set(LIVE_ANNOTATIONS) <= LIVE


def test_what_cannot_change_stays_and_is_named() -> None:
    old = SidecarSettings(sample_rate=0.5, listen_port=1)
    found = follow(old, SidecarSettings(sample_rate=0.25, listen_port=2, upstream="http://other:1"))
    assert found.changed == ("sample_rate",)
    assert found.fixed == ("upstream", "listen_port")
    assert (found.settings.sample_rate, found.settings.listen_port) == (0.25, 1)


def test_annotations_are_read_as_the_kubelet_writes_them() -> None:
    # As fmt.Fprintf("%v=%q\n") writes them, in pkg/fieldpath of Kubernetes: Go's quoting.
    text = 'a/b="plain"\nc="two\\nlines \\"quoted\\" \\\\ \\u00e9 \\x07"\nkey="has=equals"\n'
    assert parse_annotations(text) == {"a/b": "plain", "c": 'two\nlines "quoted" \\ é \x07', "key": "has=equals"}


@pytest.mark.parametrize("line", ["a", "a=b", 'a="b', "a=1", 'a=["x"]'])
def test_a_line_that_is_no_annotation_is_named(line: str) -> None:
    with pytest.raises(SettingsError, match="annotations line 2 is not KEY="):
        parse_annotations(f'x="y"\n{line}\n')


def test_a_wrong_annotation_is_named_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "annotations"
    file.write_text('driftline.io/sample-rate="most"\ndriftline.io/image="x"\n')
    with pytest.raises(SettingsError, match=r"driftline\.io/sample-rate is 'most', which is not a number"):
        Sources({}, annotations=file).read()


def test_a_fingerprint_changes_with_the_content_only(tmp_path: Path) -> None:
    file, annotations = tmp_path / "conf.yaml", tmp_path / "annotations"
    sources = Sources({}, file, annotations)
    seen = [sources.fingerprint()]
    for path, text in ((file, "a"), (annotations, "a"), (file, ""), (file, "a")):
        path.write_text(text)
        seen.append(sources.fingerprint())
    assert len(set(seen)) == 4
    assert seen[4] == seen[2]


def test_a_file_that_cannot_be_read_is_no_end_of_looking() -> None:
    unreadable = Path("/proc/self/mem")  # there, a file, and refuses
    assert Sources({}, unreadable).fingerprint() == Sources({}, None).fingerprint()


@pytest.mark.parametrize("name", ["listen_port", "grpc_listen_port", "admin_port"])
def test_a_port_that_sidecar_and_shipper_both_want_is_a_fault(tmp_path: Path, name: str) -> None:
    text = f"sidecar: {{{name}: 9100, sinks: [kafka]}}\nshipper: {{admin_port: 9100}}\n"
    assert faults(text, tmp_path) == [f"admin_port of the shipper is 9100, which is {name} of the sidecar"]
    (tmp_path / "conf.yaml").write_text(text.replace("[kafka]", "[]"))
    assert Sources({}, tmp_path / "conf.yaml").read().shipper is None


@pytest.mark.parametrize(
    ("section", "setting", "value"),
    [
        ("sidecar", "max_idle_upstream", -1),
        ("sidecar", "grpc_capture_bytes", -1),
        ("shipper", "gather_ms", -1),
        ("shipper", "linger_ms", -1),
        ("sidecar", "grace_period_s", ".inf"),
        ("sidecar", "drain_timeout_s", ".inf"),
        ("shipper", "request_timeout_s", ".inf"),
        ("shipper", "max_backoff_s", 1e9),
    ],
)
def test_a_number_that_nothing_can_be_done_with_is_a_fault(
    tmp_path: Path, section: str, setting: str, value: object
) -> None:
    [fault] = faults(f"{section}: {{{setting}: {value}}}", tmp_path)
    assert fault.startswith(f"{setting} is ")
    assert "it must not be" in fault
