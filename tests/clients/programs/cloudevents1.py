"""Events that version 1 of the CloudEvents SDK writes, as KServe's Python server has it; as JSON."""

import base64
import json

from cloudevents import kafka
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, to_json

ATTRIBUTES = {
    "type": "org.kubeflow.serving.inference.request",
    "source": "http://localhost:9081/",
    "id": "sdk-1",
    "time": "2026-11-21T10:00:00.5+00:00",
    "datacontenttype": "application/json",
    "inferenceservicename": "flights",
    "namespace": "shop",
    "metadata": '{"X-Tenant":["a b","50%"]}',
}
BODIES = {"json": {"instances": [[1.5, "ü"]]}, "bytes": b"\x1f\x8b\x00\xff"}


def marshal(data: object) -> object:
    return data if isinstance(data, bytes) else json.dumps(data).encode()


def spelt(body: object) -> str:
    return base64.b64encode(body if isinstance(body, bytes) else str(body).encode()).decode()


def main() -> None:
    found = []
    for name, data in BODIES.items():
        event = CloudEvent(ATTRIBUTES, data)
        for mode, make in (("binary", to_binary), ("structured", to_structured)):
            headers, body = make(event)
            found.append({"kind": name, "by": "http", "mode": mode, "headers": dict(headers), "body": spelt(body)})
        batch = [json.loads(to_json(event))]
        headers = {"content-type": "application/cloudevents-batch+json"}
        found.append(
            {"kind": name, "by": "http", "mode": "batch", "headers": headers, "body": spelt(json.dumps(batch))}
        )
        for mode, make in (("binary", kafka.to_binary), ("structured", kafka.to_structured)):
            message = make(event, data_marshaller=marshal, key_mapper=lambda _: "key")
            headers = {key: value.decode() for key, value in message.headers.items()}
            found.append({"kind": name, "by": "kafka", "mode": mode, "headers": headers, "body": spelt(message.value)})
    print(json.dumps(found))


main()
