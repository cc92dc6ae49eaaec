"""The codecs under Atheris, which changes payloads so that they take new paths through the code (extra ``fuzz``).

``python -m tests.serving.fuzz_atheris 100000``: so many runs from the corpus of every codec; what is held is in
``tests.serving.fuzzing``. A payload that breaks it is written to a file, and the exit code is not 0.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")
with atheris.instrument_imports(include=["serving"]):  # before anything else imports what is to be watched
    from driftline.events import Payload
    from tests.serving import corpus
    from tests.serving.fuzzing import check


def main() -> None:
    """Run; never returns."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(prefix="driftline-fuzz-") as directory:
        for number, asked in enumerate(corpus.REQUESTS):
            for other, answered in enumerate(corpus.RESPONSES):
                (Path(directory) / f"{number}-{other}").write_bytes(_joined(asked.body, answered.body))
        atheris.Setup([sys.argv[0], f"-runs={runs}", "-max_len=4096", "-seed=1", directory], one)
        atheris.Fuzz()


def one(data: bytes) -> None:
    """One pair of payloads, as :func:`_joined` puts it together."""
    length = int.from_bytes(data[:2], "big")
    check(Payload(body=data[2 : 2 + length]), Payload(body=data[2 + length :]))


def _joined(request: bytes, response: bytes) -> bytes:
    return len(request).to_bytes(2, "big") + request + response


if __name__ == "__main__":
    main()
