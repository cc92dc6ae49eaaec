"""``model.json``: what the model server knows about one version of a model.

::

    {"platform": "sklearn_joblib", "artefact": "model.joblib", "variant": "stable",
     "inputs": [{"name": "carrier", "datatype": "BYTES", "shape": [-1]}],
     "outputs": [{"name": "late", "datatype": "INT64", "shape": [-1], "source": "prediction"},
                 {"name": "probability", "datatype": "FP64", "shape": [-1], "source": "score"}],
     "categories": {"carrier": ["AA", "B6"]}}
"""

from pathlib import Path
from typing import Literal

import msgspec

from serving.errors import ModelConfigError
from serving.tensors import DATATYPES

FILE_NAME = "model.json"
SKLEARN = "sklearn_joblib"
TORCHSCRIPT = "pytorch_torchscript"
Platform = Literal["sklearn_joblib", "pytorch_torchscript"]


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output: name, datatype, and shape with -1 for the rows.

    ``source`` (outputs of scikit-learn models): the predicted class or number, the probability of the last class
    (``score``), or those of all classes (``scores``).
    """

    name: str
    datatype: str
    shape: tuple[int, ...] = (-1,)
    source: Literal["prediction", "score", "scores"] = "prediction"


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What ``model.json`` says. ``categories``: the values of each categorical input, in the order of their codes."""

    platform: Platform
    artefact: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variant: str = "stable"
    categories: dict[str, tuple[str, ...]] = {}


def read_config(path: Path) -> ModelConfig:
    """Read ``model.json``; raises ModelConfigError with every fault."""
    try:
        config = msgspec.json.decode(path.read_bytes(), type=ModelConfig)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ModelConfigError(str(path), [str(error)]) from error
    faults = [
        f"{field}[{index}].datatype is '{spec.datatype}', which is not one of {', '.join(DATATYPES)}"
        for field, specs in (("inputs", config.inputs), ("outputs", config.outputs))
        for index, spec in enumerate(specs)
        if spec.datatype not in DATATYPES
    ]
    faults.extend(f"{field} is empty" for field in ("inputs", "outputs") if not getattr(config, field))
    known = {spec.name for spec in config.inputs}
    faults.extend(
        f"categories names '{name}', which is not an input" for name in config.categories if name not in known
    )
    if Path(config.artefact).name != config.artefact:
        faults.append(f"artefact is '{config.artefact}', not the name of a file beside model.json")
    if faults:
        raise ModelConfigError(str(path), faults)
    return config


def write_config(path: Path, config: ModelConfig) -> None:
    """Write ``model.json``."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")
