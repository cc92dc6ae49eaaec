"""Where the sidecar's settings come from: a YAML file, the environment, the pod's annotations and arguments.

Arguments win over annotations, annotations over the environment, the environment over the file, the file over defaults.
Files are read again whenever somebody asks, so that a running sidecar can follow them.

>>> sources = Sources(environ={"DRIFTLINE_SIDECAR_SAMPLE_RATE": "0.5"}, arguments={"sidecar": {"sinks": ()}})
>>> sources.read().sidecar.sample_rate, sources.read().shipper is None
(0.5, True)
"""

import contextlib
import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from driftline.errors import SettingsError
from driftline.settings import load
from logger_sidecar.pod_annotations import LIVE_ANNOTATIONS, read_annotations, settings_of
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.settings import ShipperSettings

#: The sections of the file: the settings class of each.
SECTIONS: Mapping[str, type[Any]] = {"sidecar": SidecarSettings, "shipper": ShipperSettings}
#: What the YAML library lets through of a day that no month has, a tag that its text does not fit, or endless nesting.
_MISREAD = (ValueError, AttributeError, LookupError, RecursionError)


class Chosen(NamedTuple):
    """Settings that hold. ``shipper`` None: nothing is shipped."""

    sidecar: SidecarSettings
    shipper: ShipperSettings | None


@dataclass(frozen=True, slots=True)
class Unchanging:
    """Settings that somebody chose once; reading them again finds the same."""

    chosen: Chosen

    def read(self) -> Chosen:
        """The settings."""
        return self.chosen

    def fingerprint(self) -> str:
        """Always the same."""
        return ""


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that settings are read from. ``arguments``: by section, None for what was not given.

    ``annotations``: a file of the Kubernetes downward API with the pod's annotations; ``followed``: the settings that
    are taken from there.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    annotations: Path | None = None
    followed: tuple[str, ...] = LIVE_ANNOTATIONS
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def read(self) -> Chosen:
        """The settings as they stand now; raises SettingsError that names every fault of every source."""
        faults: list[str] = []
        sections = {} if self.file is None else _sections(self.file, faults)
        annotated = {} if self.annotations is None else _annotated(self.annotations, self.followed, faults)
        sidecar = self._section("sidecar", sections, faults, annotated)
        shipper = self._section("shipper", sections, faults)
        if sidecar is None or shipper is None or faults:
            raise SettingsError("settings of the sidecar", faults)
        if not sidecar.sinks:
            return Chosen(sidecar, None)
        if clash := _taken_port(sidecar, shipper):
            raise SettingsError("settings of the sidecar", [clash])
        return Chosen(sidecar, replace(shipper, spool_directory=sidecar.spool_directory, sinks=sidecar.sinks))

    def fingerprint(self) -> str:
        """Changes whenever the content of a file does; one that cannot be read counts as empty."""
        digest = hashlib.blake2b(digest_size=16)
        for path in (self.file, self.annotations):
            content = b""
            if path is not None:
                with contextlib.suppress(OSError):  # whoever reads it will say so
                    content = path.read_bytes()
            digest.update(len(content).to_bytes(8, "big") + content)
        return digest.hexdigest()

    def _section(
        self,
        name: str,
        sections: Mapping[str, Mapping[str, Any]],
        faults: list[str],
        annotations: Mapping[str, tuple[str, Any]] | None = None,
    ) -> Any:
        try:
            return load(
                SECTIONS[name],
                name.upper(),
                environ=self.environ,
                file=sections.get(name),
                file_name=f"{self.file}: {name}",
                annotations=annotations,
                arguments=self.arguments.get(name),
            )
        except SettingsError as error:
            faults.extend(error.faults)
            return None


def _taken_port(sidecar: SidecarSettings, shipper: ShipperSettings) -> str:
    """Of a port of the shipper's that the sidecar listens on itself; the two would find out only in the log."""
    own = {
        "listen_port": (sidecar.listen_host, sidecar.listen_port),
        "grpc_listen_port": (sidecar.listen_host, sidecar.grpc_listen_port),
        "admin_port": (sidecar.admin_host, sidecar.admin_port),
    }
    for name, (host, port) in own.items():
        if shipper.admin_port and port == shipper.admin_port and (host == shipper.admin_host or not host):
            return f"admin_port of the shipper is {port}, which is {name} of the sidecar"
    return ""


def _annotated(path: Path, followed: tuple[str, ...], faults: list[str]) -> dict[str, tuple[str, str]]:
    try:
        found = settings_of(read_annotations(path))
    except SettingsError as error:
        faults.extend(error.faults)
        return {}
    return {key: given for key, given in found.items() if given[0] in followed}


def _sections(path: Path, faults: list[str]) -> dict[str, Mapping[str, Any]]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")
        return {}
    except (yaml.YAMLError, *_MISREAD) as error:
        faults.append(f"{path} is not YAML: {' '.join(str(error).split())}")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        faults.append(f"{path} holds {type(content).__name__}, not the sections {' and '.join(SECTIONS)}")
        return {}
    return {str(name): found for name, value in content.items() if (found := _section(path, name, value, faults))}


def _section(path: Path, name: Any, value: Any, faults: list[str]) -> dict[str, Any]:
    if name not in SECTIONS:
        near = difflib.get_close_matches(str(name), list(SECTIONS), n=1)
        hint = f"did you mean '{near[0]}'?" if near else _where(str(name))
        faults.append(f"{path} key '{name}' is not a section; {hint}")
        return {}
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.append(f"{path} key '{name}' is '{value}', which is not a mapping of settings")
        return {}
    return {str(key): inner for key, inner in value.items()}


def _where(name: str) -> str:
    for section, cls in SECTIONS.items():
        if name in cls.__dataclass_fields__:
            return f"it is a setting and belongs under '{section}:'"
    return f"there are {' and '.join(SECTIONS)}"


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would quietly take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.constructor.ConstructorError(
                        problem=f"key '{key.value}' stands twice, again in line {line}"
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)
