"""KServe's own clients, for REST (V1 and V2) and gRPC."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
from bodies import ROWS
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


def _request(request_id: str, *, binary: bool) -> InferRequest:
    inputs = []
    for name, rows in ROWS.items():
        tensor = InferInput(name, [3, 1], "FP64")
        tensor.set_data_from_numpy(np.array(rows), binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model_name="line", infer_inputs=inputs, request_id=request_id)


async def _rest(url: str, *, binary: bool) -> list[Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    found = []
    for number in range(2):
        answer = await client.infer(url, _request(f"kserve-{number}", binary=binary), model_name="line")
        found.append({"y": answer.outputs[0].as_numpy().tolist(), "id": answer.id})
    await client.close()
    return found


async def _v1(url: str) -> list[Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    rows = [{"a": a, "b": b} for (a,), (b,) in zip(ROWS["a"], ROWS["b"], strict=True)]
    answer = await client.infer(url, {"instances": rows}, model_name="line")
    await client.close()
    return [answer]


async def _grpc(address: str) -> list[Any]:
    async with InferenceGRPCClient(url=address) as client:
        answer = await client.infer(_request("kserve-grpc", binary=True))
        return [{"y": answer.outputs[0].as_numpy().tolist(), "id": answer.id}]


def rest_json(url: str, grpc: str) -> Iterator[Any]:
    yield from asyncio.run(_rest(url, binary=False))


def rest_binary(url: str, grpc: str) -> Iterator[Any]:
    yield from asyncio.run(_rest(url, binary=True))


def rest_v1(url: str, grpc: str) -> Iterator[Any]:
    yield from asyncio.run(_v1(url))


def of_grpc(url: str, grpc: str) -> Iterator[Any]:
    yield from asyncio.run(_grpc(grpc))


CLIENTS = {"kserve-rest": rest_json, "kserve-rest-binary": rest_binary, "kserve-v1": rest_v1, "kserve-grpc": of_grpc}
