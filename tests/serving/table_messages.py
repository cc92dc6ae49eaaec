"""The messages of Seldon Core v1 and of TensorFlow Serving, made by protobuf's own library from their fields."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

_SCALARS = {"double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "bytes": 12}
_SCALARS |= {"uint32": 13, "enum": 5}
_MESSAGE = 11
#: By name, the fields by number: ``*`` before a type is many of it, ``map`` before a message one by name.
_MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "Dim": {1: ("size", "int64"), 2: ("name", "string")},
    "Shape": {2: ("dim", "*Dim")},
    "TensorProto": {
        1: ("dtype", "enum"), 2: ("tensor_shape", "Shape"), 4: ("tensor_content", "bytes"),
        5: ("float_val", "*float"), 6: ("double_val", "*double"), 7: ("int_val", "*int32"),
        8: ("string_val", "*bytes"), 10: ("int64_val", "*int64"), 11: ("bool_val", "*bool"),
        13: ("half_val", "*int32"), 16: ("uint32_val", "*uint32"), 17: ("uint64_val", "*uint64"),
    },
    "ModelSpec": {1: ("name", "string"), 3: ("signature_name", "string")},
    "PredictRequest": {
        1: ("model_spec", "ModelSpec"), 2: ("inputs", "map TensorProto"), 3: ("output_filter", "*string"),
    },
    "PredictResponse": {1: ("outputs", "map TensorProto"), 2: ("model_spec", "ModelSpec")},
    "Tensor": {1: ("shape", "*int32"), 2: ("values", "*double")},
    "DefaultData": {
        1: ("names", "*string"), 2: ("tensor", "Tensor"), 3: ("ndarray", "google.protobuf.ListValue"),
        4: ("tftensor", "TensorProto"),
    },
    "Status": {1: ("code", "int32"), 2: ("info", "string"), 4: ("status", "enum")},
    "Meta": {1: ("puid", "string"), 2: ("tags", "map google.protobuf.Value")},
    "SeldonMessage": {
        1: ("status", "Status"), 2: ("meta", "Meta"), 3: ("data", "DefaultData"), 4: ("binData", "bytes"),
        5: ("strData", "string"), 6: ("jsonData", "google.protobuf.Value"), 7: ("customData", "Status"),
    },
    "Feedback": {
        1: ("request", "SeldonMessage"), 2: ("response", "SeldonMessage"), 3: ("reward", "float"),
        4: ("truth", "SeldonMessage"),
    },
}  # fmt: skip
_PACKAGE = "tables"
_FIRST_OF_CONTENTS = 3


def message_types() -> dict[str, Any]:
    """Classes of the messages by name."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="tables.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(struct_pb2.DESCRIPTOR.name)
    for owner, fields in _MESSAGES.items():
        message = file.message_type.add(name=owner)
        if owner == "SeldonMessage":
            message.oneof_decl.add(name="contents")
        for number, (name, kind) in fields.items():
            field = _add_field(message, owner, number, name, kind)
            if owner == "SeldonMessage" and number >= _FIRST_OF_CONTENTS:
                field.oneof_index = 0
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


def _add_field(message: descriptor_pb2.DescriptorProto, owner: str, number: int, name: str, kind: str) -> Any:
    is_map = kind.startswith("map ")
    field = message.field.add(name=name, number=number, label=3 if is_map or kind[0] == "*" else 1)
    plain = kind.removeprefix("map ").lstrip("*")
    field.type = _SCALARS.get(plain, _MESSAGE)
    if is_map:
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_SCALARS["string"], label=1)
        entry.field.add(name="value", number=2, type=_MESSAGE, label=1, type_name=_full(plain))
        field.type_name = f".{_PACKAGE}.{owner}.{entry.name}"
    elif field.type == _MESSAGE:
        field.type_name = _full(plain)
    return field


def _full(name: str) -> str:
    return f".{name}" if "." in name else f".{_PACKAGE}.{name}"
