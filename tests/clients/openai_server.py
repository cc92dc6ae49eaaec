"""A small OpenAI-compatible server in a thread. Each chunk of a stream waits until the test lets it go."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Self

import uvicorn

from tests.parts.processes import wait_until

WORDS = ("Slow", "ly ", "does ", "it.")
_USAGE = {"prompt_tokens": 4, "completion_tokens": len(WORDS), "total_tokens": 4 + len(WORDS)}
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class OpenAIServer:
    """``let_go()`` lets the next chunk out; ``sent``: how many have gone."""

    def __init__(self, *, freely: bool = False) -> None:
        self.sent = 0
        self._freely = freely
        self._gate = threading.Semaphore(0)
        config = uvicorn.Config(
            self._app, host="127.0.0.1", port=0, log_level="warning", lifespan="off", interface="asgi3"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self._server.started, 120, "the OpenAI server")
        self.port = int(self._server.servers[0].sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        for _number in range(100):
            self._gate.release()
        self._thread.join(60)

    def let_go(self) -> None:
        self._gate.release()

    async def _app(self, scope: Any, receive: Any, send: _Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if json.loads(body).get("stream"):
            await self._stream(send)
        else:
            await _answer(send)

    async def _stream(self, send: _Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, word in enumerate(WORDS):
            if not self._freely:
                await asyncio.to_thread(self._gate.acquire)
            reason = "stop" if number == len(WORDS) - 1 else None
            chunk = _object("chat.completion.chunk", {"delta": {"content": word}, "finish_reason": reason})
            await send({"type": "http.response.body", "body": _event(json.dumps(chunk)), "more_body": True})
            self.sent += 1
        usage = {**_object("chat.completion.chunk", None), "usage": _USAGE}
        await send({"type": "http.response.body", "body": _event(json.dumps(usage)) + _event("[DONE]")})


async def _answer(send: _Send) -> None:
    choice = {"message": {"role": "assistant", "content": "".join(WORDS)}, "finish_reason": "stop"}
    body = json.dumps({**_object("chat.completion", choice), "usage": _USAGE}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _object(kind: str, choice: dict[str, Any] | None) -> dict[str, Any]:
    choices = [] if choice is None else [{"index": 0, **choice}]
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": "story", "choices": choices}


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()
