"""Features of images: encoded ones (PNG, JPEG, WebP, GIF, BMP, TIFF) by Pillow (extra ``images``), arrays of pixels.

An encoded image may be bytes, a text in base64, or a ``data:`` URL. Its brightness is the mean, its contrast the
standard deviation of its luma (ITU-R 601, 0 to 255). Of an array both are those of its numbers, as they are. The axes
of an array are rows and columns of pixels, with the channels (1, 3 or 4) last or first.
"""

import functools
import importlib
import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.errors import DecodeError
from serving import reasons
from serving.base64_texts import bytes_of

#: An image of more pixels is refused before it is decoded: it could fill the memory from a few kilobytes.
MAX_PIXELS = 64_000_000
_CHANNELS = frozenset({1, 3, 4})
_RAW_STARTS = ("GIF8", "RIFF", "BM", "II*", "MM")


def of_encoded(feature: str, image: str | bytes) -> float | str:
    """One feature of an encoded image; raises DecodeError where it is none."""
    data = _bytes_of(image)
    library = _library()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with library.open(io.BytesIO(data)) as opened:
                return _feature(feature, opened)
    except DecodeError:
        raise
    except Exception as error:  # Pillow raises what it finds: OSError, ValueError, SyntaxError, struct.error ...
        raise DecodeError(reasons.MALFORMED, f"{len(data)} bytes are no image that can be read: {error}") from error


def of_pixels(feature: str, pixels: NDArray[Any]) -> float:
    """One feature of an image as an array of two or three axes; raises DecodeError where it is none."""
    shape = pixels.shape
    if len(shape) == 3 and shape[-1] in _CHANNELS:
        height, width = shape[0], shape[1]
    elif len(shape) == 3 and shape[0] in _CHANNELS:
        height, width = shape[1], shape[2]
    elif len(shape) == 2:
        height, width = shape
    else:
        raise DecodeError(reasons.SHAPE_MISMATCH, f"an array of shape {list(shape)} is no image")
    if feature in {"width", "height"}:
        return float(width if feature == "width" else height)
    if not pixels.size:
        return float("nan")
    return float(pixels.mean(dtype=np.float64) if feature == "brightness" else pixels.std(dtype=np.float64))


def _feature(feature: str, image: Any) -> float | str:
    if feature == "image_format":
        return str(image.format).lower()
    if feature in {"width", "height"}:
        return float(image.width if feature == "width" else image.height)
    if image.width * image.height > MAX_PIXELS:
        raise DecodeError(
            reasons.TOO_LARGE, f"an image of {image.width} x {image.height} pixels is too large to look at"
        )
    luma = np.asarray(image.convert("L"), np.float64)
    return float(luma.mean() if feature == "brightness" else luma.std())


def _bytes_of(image: str | bytes) -> bytes:
    if isinstance(image, bytes):
        return image
    if image.startswith(_RAW_STARTS):  # the bytes of an image may happen to be UTF-8
        return image.encode()
    try:
        return bytes_of(image)
    except ValueError as error:
        shown = image[:40]
        raise DecodeError(reasons.NOT_OBSERVABLE, f"'{shown}' holds no image; an address is not followed") from error


@functools.cache
def _library() -> Any:
    # By name and not at the top: few need it.
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise DecodeError(
            reasons.UNSUPPORTED_FORMAT,
            "features of encoded images need Pillow; install driftline with the extra 'images'",
        ) from error
