"""JSON paths: the bookstore of RFC 9535 (1.5), and what this subset refuses."""

from typing import Any

import pytest

from logger_sidecar.finishing.json_paths import PathError, parse_path

BOOKS: list[dict[str, Any]] = [
    {"category": "reference", "author": "Nigel Rees", "price": 8.95},
    {"category": "fiction", "author": "Evelyn Waugh", "price": 12.99},
    {"category": "fiction", "author": "Herman Melville", "isbn": "0-553-21311-3", "price": 8.99},
    {"category": "fiction", "author": "J. R. R. Tolkien", "isbn": "0-395-19395-8", "price": 22.99},
]
STORE = {"store": {"book": BOOKS, "bicycle": {"color": "red", "price": 399}}}
AUTHORS = [book["author"] for book in BOOKS]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.store.book[*].author", AUTHORS),
        ("$..author", AUTHORS),
        ("$.store.*", [BOOKS, STORE["store"]["bicycle"]]),
        ("$.store..price", [book["price"] for book in BOOKS] + [399]),
        ("$..book[2].author", [AUTHORS[2]]),
        ("$..book[-1]['author']", [AUTHORS[3]]),
        ("$..book[?@.category=='reference'].author", [AUTHORS[0]]),
        ("$..book[?(@.price == 8.95)].author", [AUTHORS[0]]),
        ('$..book[?@["category"]!="fiction"].author', [AUTHORS[0]]),
        ("$", [STORE]),
        ("$.store.book[9]", []),
        ("$.store.book.author", []),
        ("$['sto\\u0072e']['bicycle'].color", ["red"]),
    ],
)
def test_the_standards_examples(path: str, expected: list[Any]) -> None:
    found = [place.value for place in parse_path(path).find(STORE)]
    assert sorted(map(str, found)) == sorted(map(str, expected))


def test_everything_below_is_found_by_a_descent_to_all() -> None:
    assert len(parse_path("$..*").find(STORE)) == 2 + 1 + 4 + 2 + sum(len(book) for book in BOOKS)


@pytest.mark.parametrize(
    "path", ["", "user", "$user", "$.", "$.a[", "$.a[1:2]", "$[?@.a < 1]", "$['a','b']", "$.a b", "$..", "$['\\x']"]
)
def test_what_is_no_path_of_this_subset_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        parse_path(path)
