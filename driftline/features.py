"""What can be watched of a payload's texts, vectors, lists and images; ``docs/codecs.md`` says what each is."""

from typing import Literal, get_args

NumericFeature = Literal[
    "characters", "words", "tokens", "bytes", "count", "dimension", "norm", "mean", "deviation", "smallest", "largest",
    "width", "height", "brightness", "contrast",
]  # fmt: skip
CategoricalFeature = Literal["language", "script", "image_format"]
Feature = Literal[NumericFeature, CategoricalFeature]
#: Types of tensors; see https://github.com/kserve/open-inference-protocol, and BF16 of Triton.
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64",
    "BYTES",
]  # fmt: skip

_CATEGORICAL = frozenset(get_args(CategoricalFeature))


def feature_fault(feature: str | None, type_name: str, *, is_categorical: bool) -> str | None:
    """What is wrong with a feature of a column (or a prediction) that is, or is not, categorical; None if nothing is.

    >>> feature_fault("norm", "type is categorical", is_categorical=True)
    'norm makes a number of it, and type is categorical'
    """
    if feature is None or (feature in _CATEGORICAL) == is_categorical:
        return None
    return f"{feature} makes {'a category' if feature in _CATEGORICAL else 'a number'} of it, and {type_name}"
