"""The model repository: ``NAME/VERSION/model.json`` with the artefact beside it, loaded once at start.

A model that cannot be loaded is listed with the reason and takes nothing else down.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from driftline.errors import DriftlineError
from serving import model_config, sklearn_runtime, torch_runtime
from serving.errors import ModelUnavailableError, UnknownModelError
from serving.model_config import ModelConfig
from serving.tensors import Tensor

_log = logging.getLogger(__name__)


class Runtime(Protocol):
    """A loaded model."""

    def predict(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """All outputs for the inputs; raises DecodeError on bad input, anything when the model fails."""
        ...


#: ``(config, directory of the version, device) -> Runtime``; may raise anything.
Loader = Callable[[ModelConfig, Path, str], Runtime]

LOADERS: Mapping[str, Loader] = {
    model_config.SKLEARN: sklearn_runtime.load,
    model_config.TORCHSCRIPT: torch_runtime.load,
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model that answers."""

    name: str
    version: str
    config: ModelConfig
    runtime: Runtime


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A model that could not be loaded, and why."""

    name: str
    version: str
    reason: str


class Repository:
    """The models of one directory, by name and version."""

    def __init__(self, entries: Sequence[Model | Unavailable]) -> None:
        self._entries: dict[str, dict[str, Model | Unavailable]] = {}
        for entry in sorted(entries, key=lambda entry: _version_order(entry.version)):
            self._entries.setdefault(entry.name, {})[entry.version] = entry

    def entries(self) -> list[Model | Unavailable]:
        """Every version of every model, ordered by name."""
        return [entry for name in sorted(self._entries) for entry in self._entries[name].values()]

    def versions(self, name: str) -> list[str]:
        """The versions of a model, oldest first; empty for an unknown one."""
        return list(self._entries.get(name, {}))

    def model(self, name: str, version: str | None = None) -> Model:
        """A version of a model, the newest that answers when none is named.

        Raises UnknownModelError, or ModelUnavailableError when it could not be loaded.
        """
        versions = self._entries.get(name)
        if versions is None:
            known = ", ".join(sorted(self._entries)[:20]) or "none"
            raise UnknownModelError(f"model '{name[:80]}' is not in the repository; it holds: {known}")
        if version is not None and version not in versions:
            raise UnknownModelError(
                f"model '{name}' has no version '{version[:40]}'; it has: {', '.join(list(versions)[-20:])}"
            )
        candidates = list(versions.values()) if version is None else [versions[version]]
        for entry in reversed(candidates):
            if isinstance(entry, Model):
                return entry
        failed = candidates[-1]
        reason = failed.reason if isinstance(failed, Unavailable) else ""
        raise ModelUnavailableError(f"model '{name}' version '{failed.version}' is not ready: {reason}")


def load_repository(directory: Path, device: str = "auto", loaders: Mapping[str, Loader] = LOADERS) -> Repository:
    """Load every ``NAME/VERSION/model.json`` below ``directory``."""
    return Repository(
        [_load(path, device, loaders) for path in sorted(directory.glob(f"*/*/{model_config.FILE_NAME}"))]
    )


def _load(path: Path, device: str, loaders: Mapping[str, Loader]) -> Model | Unavailable:
    version, name = path.parent.name, path.parent.parent.name
    try:
        config = model_config.read_config(path)
        return Model(name, version, config, loaders[config.platform](config, path.parent, device))
    except DriftlineError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - unpickling a foreign artefact may raise anything
        reason = f"{type(error).__name__}: {error}"
    _log.error("model '%s' version '%s' cannot be loaded: %s", name, version, reason)
    return Unavailable(name, version, reason)


def _version_order(version: str) -> tuple[int, str]:
    # Versions are numbers in most repositories; 10 comes after 9. Others come before all numbers.
    return (int(version), version) if version.isdecimal() else (-1, version)
