"""The messages of grpc_predict_v2.proto, made by protobuf's own library from a description of their fields."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = {
    "bool": 8, "int32": 5, "int64": 3, "uint32": 13, "uint64": 4, "float": 2, "double": 1, "bytes": 12, "string": 9,
}  # fmt: skip
_PARAMETERS = ("parameters", "map")
_TENSOR = {
    1: ("name", "string"),
    2: ("datatype", "string"),
    3: ("shape", "*int64"),
    4: _PARAMETERS,
    5: ("contents", "Contents"),
}
_MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "Parameter": {
        1: ("bool_param", "bool"), 2: ("int64_param", "int64"), 3: ("string_param", "string"),
        4: ("double_param", "double"), 5: ("uint64_param", "uint64"),
    },
    "Contents": {
        1: ("bool_contents", "*bool"), 2: ("int_contents", "*int32"), 3: ("int64_contents", "*int64"),
        4: ("uint_contents", "*uint32"), 5: ("uint64_contents", "*uint64"), 6: ("fp32_contents", "*float"),
        7: ("fp64_contents", "*double"), 8: ("bytes_contents", "*bytes"),
    },
    "Tensor": _TENSOR,
    "Requested": {1: ("name", "string"), 2: _PARAMETERS},
    "Request": {
        1: ("model_name", "string"), 2: ("model_version", "string"), 3: ("id", "string"), 4: _PARAMETERS,
        5: ("inputs", "*Tensor"), 6: ("outputs", "*Requested"), 7: ("raw_input_contents", "*bytes"),
    },
    "Response": {
        1: ("model_name", "string"), 2: ("model_version", "string"), 3: ("id", "string"), 4: _PARAMETERS,
        5: ("outputs", "*Tensor"), 6: ("raw_output_contents", "*bytes"),
    },
    "StreamResponse": {1: ("error_message", "string"), 2: ("infer_response", "Response")},
}  # fmt: skip


def _add_map(message: descriptor_pb2.DescriptorProto, owner: str, *, opaque: bool) -> str:
    entry = message.nested_type.add(name="ParametersEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    if opaque:
        entry.field.add(name="value", number=2, type=_TYPES["bytes"], label=1)
    else:
        entry.field.add(name="value", number=2, type=11, label=1, type_name=".inference.Parameter")
    return f".inference.{owner}.ParametersEntry"


def _file(*, opaque: bool) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="predict.proto", package="inference", syntax="proto3")
    for owner, fields in _MESSAGES.items():
        message = file.message_type.add(name=owner)
        if owner == "Parameter":
            message.oneof_decl.add(name="choice")
        for number, (name, kind) in fields.items():
            field = message.field.add(name=name, number=number, label=3 if kind[0] == "*" or kind == "map" else 1)
            plain = kind.lstrip("*")
            if opaque and (plain in ("string", "Requested") or (plain == "map" and owner != "Tensor")):
                plain = "bytes"
            field.type = _TYPES.get(plain, 11)
            if field.type == 11:
                field.type_name = _add_map(message, owner, opaque=opaque) if plain == "map" else f".inference.{plain}"
            if owner == "Parameter":
                field.oneof_index = 0
    return file


def message_types(*, opaque: bool = False) -> dict[str, Any]:
    """Classes of the messages by name. ``opaque``: texts and what is beside tensors are bytes, well-formed or not."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file(opaque=opaque))
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in _MESSAGES
    }
