"""Features of texts, vectors and images against counts made by hand and pictures made by Pillow."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from driftline.errors import DecodeError
from serving import reasons
from serving.features import texts, vectors
from tests.serving.codecs.reading_examples import columns, monitor_of


def watch(source: str, *features: str) -> Any:
    categories = {"language", "script", "image_format"}
    return monitor_of(
        [
            {
                "name": feature,
                "type": "categorical" if feature in categories else "numeric",
                "from": source,
                "as": feature,
            }
            for feature in features
        ]
    )


@pytest.mark.parametrize(
    ("text", "characters", "words", "tokens", "script"),
    [
        ("", 0, 0, 0, None),
        ("Hello, world!", 13, 2, 4, "latin"),
        ("  a_b  c1 \n", 11, 2, 2, "latin"),
        ("Привет", 6, 1, 1, "cyrillic"),
        ("你好吗？", 4, 3, 4, "han"),
        ("こんにちは", 5, 5, 5, "kana"),
        ("3.14", 4, 2, 3, None),
        ("😀😀", 2, 0, 2, None),
    ],
)
def test_texts_are_counted(text: str, characters: int, words: int, tokens: int, script: str | None) -> None:
    found = columns(
        {"instances": [{"t": text}]}, monitor=watch("t", "characters", "words", "tokens", "script", "bytes")
    )
    expected = {"characters": characters, "words": words, "tokens": tokens, "bytes": len(text.encode())}
    assert found == {name: [float(value)] for name, value in expected.items()} | {"script": [script]}


@given(st.text())
def test_words_are_never_more_than_tokens_nor_tokens_more_than_characters(text: str) -> None:
    assert texts.words(text) <= texts.tokens(text) <= texts.characters(text) <= texts.size_bytes(text)


def test_the_language_of_a_text_is_told() -> None:
    said = [
        "The delivery has not arrived yet and I would like to know when it will come.",
        "Die Lieferung ist noch nicht angekommen und ich möchte wissen, wann sie kommt.",
        "La livraison n'est pas encore arrivée et je voudrais savoir quand elle viendra.",
        "12",
        None,
    ]
    found = columns({"instances": [{"t": text} for text in said]}, monitor=watch("t", "language"))
    assert found == {"language": ["en", "de", "fr", None, None]}


def test_vectors_of_any_form_give_the_same_numbers() -> None:
    rows = [[3.0, 4.0, 0.0], [1.0, 1.0, 1.0]]
    features = ("dimension", "norm", "mean", "deviation", "smallest", "largest")
    array = np.array(rows)
    expected = {
        "dimension": [3.0, 3.0],
        "norm": np.linalg.norm(array, axis=1).tolist(),
        "mean": array.mean(axis=1).tolist(),
        "deviation": array.std(axis=1).tolist(),
        "smallest": [0.0, 1.0],
        "largest": [4.0, 1.0],
    }
    tensor = {"name": "v", "datatype": "FP32", "shape": [2, 3], "data": rows}
    for request in ({"instances": [{"v": row} for row in rows]}, {"inputs": {"v": rows}}, {"inputs": [tensor]}):
        found = columns(request, monitor=watch("v", *features))
        assert {name: pytest.approx(values) for name, values in found.items()} == expected


def test_vectors_of_different_lengths_are_told_apart_by_their_dimension() -> None:
    rows = [[3.0, 4.0], [], None, [1.0]]
    found = columns(
        {"instances": [{"v": row} for row in rows]}, monitor=watch("v", "dimension", "norm", "largest", "count")
    )
    assert found["dimension"] == [2.0, 0.0, None, 1.0]
    assert found["norm"] == [5.0, 0.0, None, 1.0]
    assert found["largest"] == [4.0, None, None, 1.0]
    assert found["count"] == [2.0, 0.0, None, 1.0]


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), min_size=1, max_size=5))
def test_a_matrix_and_lists_of_its_rows_give_the_same(rows: list[list[float]]) -> None:
    for feature in vectors.OF_ROWS:
        alone = [vectors.of_lists(feature, [row])[0] for row in rows]
        np.testing.assert_allclose(vectors.of_rows(feature, np.array(rows)), alone)


def picture(width: int = 8, height: int = 4, colour: tuple[int, int, int] = (255, 0, 0)) -> Image.Image:
    image = Image.new("RGB", (width, height), colour)
    for place in range(height):
        image.putpixel((0, place), (255, 255, 255))
    return image


def encoded(image: Image.Image, kind: str) -> bytes:
    data = io.BytesIO()
    image.save(data, kind)
    return data.getvalue()


IMAGE_FEATURES = ("width", "height", "brightness", "contrast", "image_format")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_an_encoded_image_is_read_from_every_place_it_may_be_in(kind: str) -> None:
    image = picture()
    data = encoded(image, kind)
    luma = np.asarray(Image.open(io.BytesIO(data)).convert("L"), float)
    expected = {
        "width": [8.0],
        "height": [4.0],
        "brightness": [luma.mean()],
        "contrast": [luma.std()],
        "image_format": [kind.lower()],
    }
    text = base64.b64encode(data).decode()
    head = b'{"inputs":[{"name":"i","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":%d}}]}' % (
        len(data) + 4
    )
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/x;base64,{text}"}}]}
    requests: list[tuple[Any, str]] = [
        ({"instances": [{"i": {"b64": text}}]}, "i"),
        ({"instances": [{"i": {"b64": text}}]}, "i.b64"),
        ({"instances": [{"i": {"b64": f"data:image/x;base64,{text}"}}]}, "i"),
        ({"instances": [{"deep": {"i": {"b64": text}}}]}, "deep.i.b64"),
        ({"instances": [{"i": base64.encodebytes(data).decode()}]}, "i"),
        ({"instances": [{"i": {"b64": base64.encodebytes(data).decode()}}]}, "i"),
        ({"instances": [{"i": text}]}, "i"),
        (head + len(data).to_bytes(4, "little") + data, "i"),
        (data, "body"),
        ({"binData": text}, "binData"),
        ({"model": "m", "messages": [message]}, "image"),
    ]
    for request, source in requests:
        assert columns(request, monitor=watch(source, *IMAGE_FEATURES)) == expected


def test_an_array_of_pixels_is_an_image_with_its_channels_last_first_or_absent() -> None:
    pixels = np.asarray(picture(), float)
    for array in (pixels, pixels.transpose(2, 0, 1), pixels[:, :, 0]):
        for request in (
            {"instances": [{"i": array.tolist()}]},
            {"inputs": [{"name": "i", "datatype": "FP32", "shape": [1, *array.shape], "data": array.ravel().tolist()}]},
        ):
            found = columns(request, monitor=watch("i", "width", "height", "brightness", "contrast"))
            assert found["width"] == [8.0]
            assert found["height"] == [4.0]
            assert found["brightness"] == [pytest.approx(array.mean())]
            assert found["contrast"] == [pytest.approx(array.std())]


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0broken", b"RIFF\x00\x00\x00\x00WEBPVP8 "])
def test_a_broken_image_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError) as found:
        columns(data, monitor=watch("body", "brightness"))
    assert found.value.reason == reasons.MALFORMED


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    huge = encoded(Image.new("1", (10_000, 10_000)), "PNG")
    assert len(huge) < 100_000
    assert columns(huge, monitor=watch("body", "width"))["width"] == [10_000.0]
    with pytest.raises(DecodeError) as found:
        columns(huge, monitor=watch("body", "brightness"))
    assert found.value.reason == reasons.TOO_LARGE


@pytest.mark.parametrize(
    ("value", "feature"),
    [
        (5, "characters"),
        ("x", "norm"),
        (["x"], "mean"),
        (5, "count"),
        ([1, 2, 3], "width"),
        ({"a": 1}, "tokens"),
        ([[1], [1, 2]], "width"),
    ],
)
def test_a_feature_of_what_has_it_not_is_refused_by_column_and_row(value: Any, feature: str) -> None:
    rows = [{"t": None}, {"t": value}]
    with pytest.raises(DecodeError) as found:
        columns({"instances": rows}, monitor=watch("t", feature))
    assert found.value.reason in {reasons.WRONG_TYPE, reasons.SHAPE_MISMATCH}
