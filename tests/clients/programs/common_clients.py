"""What people use to talk to model servers: tritonclient, aiohttp, httpx, requests and openai.

Each yields what it understood. Several requests on one connection, with an id in the body, in a header, and none.
"""

import asyncio
import gzip
import io
import json
import os
import queue
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import httpx
import numpy as np
import openai
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from bodies import PATH, ROWS, TRITON_TOKEN, v2_body
from tritonclient.grpc import service_pb2
from tritonclient.utils import shared_memory


def _triton_inputs(kind: Any, **options: Any) -> list[Any]:
    inputs = []
    for name, rows in ROWS.items():
        tensor = kind.InferInput(name, [3, 1], "FP64")
        tensor.set_data_from_numpy(np.array(rows), **options)
        inputs.append(tensor)
    return inputs


def _triton(url: str, binary: bool, **compression: str) -> Iterator[Any]:
    with triton_http.InferenceServerClient(url.removeprefix("http://")) as client:
        outputs = [triton_http.InferRequestedOutput("y", binary_data=binary)]
        for number in range(2):
            answer = client.infer(
                "line",
                _triton_inputs(triton_http, binary_data=binary),
                outputs=outputs,
                request_id=f"triton-{number}",
                **compression,
            )
            yield {"y": answer.as_numpy("y").tolist(), "response": answer.get_response()}


def triton_binary(url: str, grpc: str) -> Iterator[Any]:
    return _triton(url, True)


def triton_json(url: str, grpc: str) -> Iterator[Any]:
    return _triton(url, False)


def triton_gzip(url: str, grpc: str) -> Iterator[Any]:
    return _triton(url, True, request_compression_algorithm="gzip", response_compression_algorithm="gzip")


def triton_shared(url: str, grpc: str) -> Iterator[Any]:
    with triton_http.InferenceServerClient(url.removeprefix("http://")) as client:
        yield from _shared(client, triton_http, {"triton-access-token": TRITON_TOKEN})


def triton_of_grpc_shared(url: str, grpc: str) -> Iterator[Any]:
    with triton_grpc.InferenceServerClient(grpc) as client:
        yield from _shared(client, triton_grpc, {"triton-grpc-protocol-triton-access-token": TRITON_TOKEN})


def _shared(client: Any, kind: Any, token: dict[str, str]) -> Iterator[Any]:
    """First all tensors in shared memory, then one of the two inputs only."""
    asked, answered = (f"driftline_{os.getpid()}_{way}" for way in ("in", "out"))
    regions = [shared_memory.create_shared_memory_region(name, f"/{name}", 48) for name in (asked, answered)]
    try:
        shared_memory.set_shared_memory_region(regions[0], [np.array(rows) for rows in ROWS.values()])
        for name in (asked, answered):
            client.register_system_shared_memory(name, f"/{name}", 48, headers=token)
        tensors = [kind.InferInput(name, [3, 1], "FP64") for name in ROWS]
        for number, tensor in enumerate(tensors):
            tensor.set_shared_memory(asked, 24, 24 * number)
        output = kind.InferRequestedOutput("y")
        output.set_shared_memory(answered, 24)
        client.infer("line", tensors, outputs=[output], request_id="shared-0")
        yield shared_memory.get_contents_as_numpy(regions[1], np.float64, [3, 1]).tolist()
        answer = client.infer("line", [tensors[0], _triton_inputs(kind)[1]], request_id="shared-1")
        yield answer.as_numpy("y").tolist()
    finally:
        _unregister(client, token)
        for region in regions:
            shared_memory.destroy_shared_memory_region(region)


def _unregister(client: Any, token: dict[str, str]) -> None:
    """Triton lets a request's regions go a moment after its answer, and refuses until then."""
    for _ in range(300):
        try:
            return client.unregister_system_shared_memory(headers=token)
        except triton_grpc.InferenceServerException:
            time.sleep(0.1)
    raise TimeoutError("Triton still holds its regions")


def triton_of_grpc(url: str, grpc: str) -> Iterator[Any]:
    with triton_grpc.InferenceServerClient(grpc) as client:
        yield client.is_server_live()
        for number in range(2):
            answer = client.infer("line", _triton_inputs(triton_grpc), request_id=f"triton-grpc-{number}")
            yield {"y": answer.as_numpy("y").tolist(), "id": answer.get_response().id}


def messages_of_grpc(url: str, grpc: str) -> Iterator[Any]:
    """What tritonclient's protobuf classes read in an event's body; ``url``: "KIND:HEX" of length-prefixed messages."""
    kind, _, text = url.partition(":")
    data = bytes.fromhex(text)
    while data:
        assert data[0] == 0, "compressed"
        end = 5 + int.from_bytes(data[1:5], "big")
        message = getattr(service_pb2, kind)()
        message.ParseFromString(data[5:end])
        data = data[end:]
        tensors = message.inputs if kind == "ModelInferRequest" else message.outputs
        raw = message.raw_input_contents if kind == "ModelInferRequest" else message.raw_output_contents
        values = [np.frombuffer(one, np.float64).tolist() for one in raw]
        values = values or [list(tensor.contents.fp64_contents) for tensor in tensors]
        named = dict(zip((tensor.name for tensor in tensors), values, strict=True))
        yield {"id": message.id, "model": message.model_name, **named}


def triton_of_grpc_unknown(url: str, grpc: str) -> Iterator[Any]:
    with triton_grpc.InferenceServerClient(grpc) as client:
        try:
            client.infer("nobody", _triton_inputs(triton_grpc), request_id="unknown-0")
        except triton_grpc.InferenceServerException as error:
            yield {"status": error.status(), "message": error.message()}


def triton_of_grpc_stream(url: str, grpc: str) -> Iterator[Any]:
    """Each next request goes out when the one before it is answered."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton_grpc.InferenceServerClient(grpc) as client:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        for number in range(3):
            client.async_stream_infer("line", _triton_inputs(triton_grpc), request_id=f"stream-{number}")
            answer, error = answers.get(timeout=30)
            yield (
                {"error": str(error)} if error else {"y": answer.as_numpy("y").tolist(), "id": answer.get_response().id}
            )
        client.stop_stream()


def requests_client(url: str, grpc: str) -> Iterator[Any]:
    with requests.Session() as session:
        session.trust_env = False
        for number in range(2):
            answer = session.post(url + PATH, json=v2_body(f"requests-{number}"), timeout=30)
            yield {"status": answer.status_code, "json": answer.json()}
        answer = session.post(url + PATH, json=v2_body("x"), headers={"X-Request-Id": "from-header"}, timeout=30)
        yield {"status": answer.status_code, "json": answer.json()}


def requests_uploads(url: str, grpc: str) -> Iterator[Any]:
    """Bodies as people send them: in pieces, from a file, compressed, without a type, and after being asked."""
    kind = {"Content-Type": "application/json"}
    with requests.Session() as session:
        session.trust_env = False
        for body, headers in (
            (_pieces("pieces"), kind),
            (io.BytesIO(_json("file")), kind),
            (gzip.compress(_json("packed"), mtime=0), {**kind, "Content-Encoding": "gzip"}),
            (_json("no-type"), {}),
            (_json("expecting"), {**kind, "Expect": "100-continue"}),
            (b"{broken", kind),
        ):
            answer = session.post(url + PATH, data=body, headers=headers, timeout=30)
            yield {"status": answer.status_code, "text": answer.text}


def _json(request_id: str) -> bytes:
    return json.dumps(v2_body(request_id)).encode()


def _pieces(request_id: str) -> Iterator[bytes]:
    body = _json(request_id)
    return (body[start : start + 16] for start in range(0, len(body), 16))


def httpx_client(url: str, grpc: str) -> Iterator[Any]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        for number in range(2):
            answer = client.post(url + PATH, json=v2_body(f"httpx-{number}"))
            yield {"status": answer.status_code, "json": answer.json()}
        yield client.get(url + "/v2/models/line").json()


async def _aiohttp(url: str) -> list[Any]:
    found = []
    async with aiohttp.ClientSession() as session:
        for number in range(2):
            async with session.post(url + PATH, json=v2_body(f"aiohttp-{number}")) as answer:
                found.append({"status": answer.status, "json": await answer.json(content_type=None)})
        async with session.post(url + "/v2/models/nobody/infer", json=v2_body("aiohttp-unknown")) as answer:
            found.append({"status": answer.status, "text": await answer.text()})
    return found


async def _aiohttp_uploads(url: str) -> list[Any]:
    async def pieces(request_id: str) -> AsyncIterator[bytes]:
        for piece in _pieces(request_id):
            yield piece

    found = []
    kind = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session:
        for options in (
            {"data": pieces("pieces")},
            {"data": pieces("expecting"), "expect100": True},
            {"data": _json("gzip"), "compress": "gzip"},
            {"data": _json("deflate"), "compress": "deflate"},
        ):
            async with session.post(url + PATH, headers=kind, **options) as answer:
                found.append({"status": answer.status, "text": await answer.text()})
    return found


def aiohttp_uploads(url: str, grpc: str) -> Iterator[Any]:
    yield from asyncio.run(_aiohttp_uploads(url))


def aiohttp_client(url: str, grpc: str) -> Iterator[Any]:
    yield from asyncio.run(_aiohttp(url))


# --- openai -------------------------------------------------------------------------------------------------------
MESSAGES = [{"role": "user", "content": "Say it slowly."}]


def openai_whole(url: str, grpc: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=url + "/v1", api_key="not-a-secret", max_retries=0) as client:
        answer = client.chat.completions.create(model="story", messages=MESSAGES)  # type: ignore[arg-type]
        yield answer.model_dump()


def openai_stream(url: str, grpc: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=url + "/v1", api_key="not-a-secret", max_retries=0) as client:
        chunks = client.chat.completions.create(model="story", messages=MESSAGES, stream=True)  # type: ignore[arg-type]
        for chunk in chunks:
            yield chunk.model_dump()


CLIENTS = {
    "tritonclient-binary": triton_binary,
    "tritonclient-json": triton_json,
    "tritonclient-gzip": triton_gzip,
    "tritonclient-grpc": triton_of_grpc,
    "tritonclient-grpc-stream": triton_of_grpc_stream,
    "messages-of-grpc": messages_of_grpc,
    "tritonclient-grpc-unknown": triton_of_grpc_unknown,
    "tritonclient-shared": triton_shared,
    "tritonclient-grpc-shared": triton_of_grpc_shared,
    "requests": requests_client,
    "requests-uploads": requests_uploads,
    "httpx": httpx_client,
    "aiohttp": aiohttp_client,
    "aiohttp-uploads": aiohttp_uploads,
    "openai": openai_whole,
    "openai-stream": openai_stream,
}
