"""Runs TorchScript models on the CPU or a GPU. The only module that imports torch; without it, its models say so."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from driftline.errors import DecodeError
from serving import reasons
from serving.errors import ModelUnavailableError
from serving.model_config import ModelConfig, TensorSpec
from serving.tensors import BF16, BYTES, NUMPY_TYPES, Tensor

try:
    import torch
except ImportError:
    torch = None


class TorchRuntime:
    """A TorchScript module that takes the config's inputs in order and returns one tensor per output."""

    def __init__(self, module: Any, config: ModelConfig, device: Any) -> None:
        self._module = module
        self._config = config
        self._device = device

    def predict(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the config; raises DecodeError on bad input."""
        arrays = [_array(spec, tensors) for spec in self._config.inputs]
        with torch.inference_mode():
            answers = self._module(*(torch.from_numpy(array).to(self._device) for array in arrays))
        parts = [answers] if isinstance(answers, torch.Tensor) else list(answers)
        return [_output(spec, part.to("cpu").numpy()) for spec, part in zip(self._config.outputs, parts, strict=True)]


def load(config: ModelConfig, directory: Path, device: str) -> TorchRuntime:
    """Load a TorchScript artefact; raises ModelUnavailableError without torch, or without the device asked for."""
    if torch is None:
        raise ModelUnavailableError("torch is not installed; install it to serve TorchScript models")
    unknown = [spec.name for spec in (*config.inputs, *config.outputs) if spec.datatype in {BYTES, BF16}]
    if unknown:
        raise ModelUnavailableError(f"torch models take and return numbers; '{unknown[0]}' is BYTES or BF16")
    place = pick_device(device)
    module = torch.jit.load(str(directory / config.artefact), map_location=place)
    return TorchRuntime(module.eval(), config, place)


def pick_device(device: str) -> Any:
    """The torch device for ``auto``, ``cpu`` or ``cuda[:N]``; raises ModelUnavailableError when it is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    place = torch.device(device)
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise ModelUnavailableError(f"device '{device}' was asked for; {torch.cuda.device_count()} GPUs are visible")
    return place


def _array(spec: TensorSpec, tensors: Sequence[Tensor]) -> Any:
    found = [tensor for tensor in tensors if tensor.name in {spec.name, ""}]
    if not found:
        names = ", ".join(f"'{tensor.name[:40]}'" for tensor in tensors[:20])
        raise DecodeError(reasons.NO_COLUMNS, f"the request lacks the input '{spec.name}'; it has: {names}")
    tensor = found[0]
    expected = tensor.shape if len(spec.shape) == len(tensor.shape) else None
    if expected is None or any(want not in {-1, have} for want, have in zip(spec.shape, expected, strict=True)):
        detail = f"input '{spec.name}' has shape {list(tensor.shape)}, the model takes {list(spec.shape)}"
        raise DecodeError(reasons.SHAPE_MISMATCH, detail)
    try:
        array = np.array(tensor.values, dtype=NUMPY_TYPES[spec.datatype])
    except (ValueError, TypeError, OverflowError) as error:
        raise DecodeError(reasons.WRONG_TYPE, f"input '{spec.name}' is not {spec.datatype}: {error}") from error
    return array.reshape(tensor.shape)


def _output(spec: TensorSpec, array: Any) -> Tensor:
    return Tensor(spec.name, spec.datatype, array.shape, array.ravel().astype(NUMPY_TYPES[spec.datatype]))
