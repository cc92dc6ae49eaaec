r"""The pod's annotations as settings, read from a file that Kubernetes keeps up to date (the downward API).

Annotations are the workload's own words: what they say of capture is followed without a restart. The file has a line
``key="value"`` per annotation, the value quoted as Go quotes strings, and is replaced whole when one changes.

>>> settings_of(parse_annotations('driftline.io/sample-rate="0.1"\nkubernetes.io/config.seen="today"\n'))
{'driftline.io/sample-rate': ('sample_rate', '0.1')}
"""

import ast
from collections.abc import Mapping
from pathlib import Path

from driftline.errors import SettingsError
from driftline.names import ANNOTATION_PREFIX

#: What a workload may say of its own capture while it runs; the annotation has dashes where the setting has underlines.
LIVE_ANNOTATIONS = (
    "sample_rate",
    "model_sample_rates",
    "keep_errors",
    "keep_slower_than_s",
    "keep_headers",
    "capture_headers",
    "metadata",
    "max_body_bytes",
    "variant",
    "log_level",
)


def read_annotations(path: Path) -> dict[str, str]:
    """The annotations in a file; raises SettingsError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fault = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise SettingsError("annotations", [fault]) from error
    return parse_annotations(text, str(path))


def parse_annotations(text: str, source: str = "annotations") -> dict[str, str]:
    """The annotations in a text; raises SettingsError with every line that is none."""
    found, faults = {}, []
    for number, line in enumerate(text.splitlines(), start=1):
        key, equals, quoted = line.partition("=")
        if not line.strip():
            continue
        try:
            value = ast.literal_eval(quoted)  # Go's escapes are all Python's too
        except (ValueError, SyntaxError):
            value = None
        if not equals or not isinstance(value, str):
            faults.append(f'{source} line {number} is not KEY="VALUE"')
        else:
            found[key] = value
    if faults:
        raise SettingsError("annotations", faults)
    return found


def settings_of(annotations: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Setting and value by annotation; the annotations that only an injection reads are passed over."""
    named = {annotation_of(name): name for name in LIVE_ANNOTATIONS}
    return {key: (named[key], value) for key, value in annotations.items() if key in named}


def annotation_of(setting: str) -> str:
    """The annotation of a setting.

    >>> annotation_of("sample_rate")
    'driftline.io/sample-rate'
    """
    return ANNOTATION_PREFIX + setting.replace("_", "-")
