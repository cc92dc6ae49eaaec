"""Real clients, each asked by a line of JSON on standard input: ``{"client": NAME, "url": URL, "grpc": HOST:PORT}``.

Answers with lines of JSON on standard output: what the client made of the answers, a refusal included, and last
``{"done": true}``. ``client_host.py MODULE`` speaks for the clients of ``MODULE.CLIENTS`` beside it.
"""

import importlib
import json
import sys
import traceback
from typing import Any


def say(line: Any) -> None:
    """One line of JSON to whoever asked."""
    print(json.dumps(line), flush=True)


def main(module: str) -> None:
    clients = importlib.import_module(module).CLIENTS
    say({"ready": sorted(clients)})
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            for result in clients[asked["client"]](asked["url"], asked.get("grpc", "")):
                say({"result": result})
        except Exception as error:  # noqa: BLE001 - whatever a client raises is compared
            # What a client makes of a refusal is a result as well; where it was asked differs.
            text = f"{type(error).__name__}: {error}"
            text = text.replace(asked["url"], "URL") if asked["url"] else text
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            say({"result": {"error": text}})
        say({"done": True})


if __name__ == "__main__":
    main(sys.argv[1])
