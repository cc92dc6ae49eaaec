"""Compiles what every request and every value passes.

The sidecar's modules of ``COMPILED`` are the same Python files, compiled by Cython; nothing is written twice. What
Cython is told beyond them follows from their own annotations: each class becomes an extension type whose attributes and
methods have the types that the source states. The few modules of ``NATIVE`` are written for Cython (``.pyx``, with what
they include, ``.pxi``, and what they declare for others, ``.pxd``); the builds without them do the same in Python.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: What every request passes: modules, and those of their classes that become extension types.
COMPILED: dict[str, tuple[str, ...]] = {
    "logger_sidecar.http1.chunked": ("ChunkedScanner",),
    "logger_sidecar.http1.sameness": (),
    "logger_sidecar.http1.heads": ("Head",),
    "logger_sidecar.http1.exchange": ("Half", "Exchange"),
    "logger_sidecar.recording.event_ids": ("EventIds",),
    "logger_sidecar.recording.meters": ("StreamMeters", "Meters"),
    "logger_sidecar.recording.batch_region": ("BatchRegion",),
    "logger_sidecar.recording.recorder_client": ("RecorderClient",),
    "logger_sidecar.recording.capture": ("Kind", "Capture"),
    "logger_sidecar.proxy.upstream": ("UpstreamConnection",),
    "logger_sidecar.proxy.upstream_pool": ("UpstreamPool",),
    "logger_sidecar.proxy.parts": ("ProxyParts",),
    "logger_sidecar.proxy.client_flow": ("ClientFlow",),
    "logger_sidecar.proxy.client": ("ClientConnection",),
    "logger_sidecar.http2.frames": (),
    "logger_sidecar.http2.walk": ("FrameWalk",),
    "logger_sidecar.http2.header_blocks": ("BlockReader",),
    "logger_sidecar.http2.capture_room": ("CaptureRoom",),
    "logger_sidecar.http2.v2_messages": ("Beginnings",),
    "logger_sidecar.http2.stream_heads": ("CallHead", "HeadMeaning"),
    "logger_sidecar.http2.followed_call": ("CallParts", "FollowedCall"),
    "logger_sidecar.http2.grpc_messages": ("Messages",),
    "logger_sidecar.http2.grpc_calls": ("GrpcCall",),
    "logger_sidecar.http2.plain_calls": ("Body", "PlainCall"),
    "logger_sidecar.http2.tap": ("Streams", "_Requests", "_Answers", "Tap"),
    "logger_sidecar.http2.splice": ("Http2Connection", "_ServerSide"),
}
#: What only the compiled build has, by module, and the systems (``sys.platform``) it is for; none named: all.
NATIVE: dict[str, tuple[str, ...]] = {
    "collector.labels.label_scanner": (),
    "collector.sources.record_scanner": (),
    "detectors.counts.cell_kernel": (),
    "detectors.evaluating.drawing_kernel": (),
    "detectors.evaluating.picking_kernel": (),
    "detectors.statistics.count_kernel": (),
    "detectors.statistics.sentence_kernel": (),
    "driftline.message_kernel": (),
    "logger_sidecar.proxy.lane": ("linux",),
    "logger_sidecar.recording.record_writer": ("linux",),
    "logger_sidecar.recording.shared_bytes": ("linux",),
    "logger_sidecar.spool.frame_kernel": (),
    "serving.body_scanner": (),
}
_C_TYPES = {"int": "long long", "float": "double", "bool": "bint"}
#: The same for a local variable.
_LOCAL = {"long long": "cython.longlong", "double": "cython.double", "bint": "cython.bint"}
_BUILTINS = ("bytes", "str", "list", "dict", "set")
#: A method of another module's extension type that is passed as a value compiles to nonsense, with only a warning.
#: No product and sum are made one operation, which some processors round once: numbers are those of NumPy everywhere.
_COMPILE_ARGS = ["-O2", "-g0", "-ffp-contract=off", "-Werror=incompatible-pointer-types"]
_DIRECTIVES = {"language_level": 3, "annotation_typing": False, "binding": True, "embedsignature": False}


def compile_modules(root: Path, work: Path) -> list[Path]:
    """Compile what ``COMPILED`` and ``NATIVE`` name below ``root``; returns the shared libraries, below ``work``."""
    sources = {module: (root / Path(*module.split("."))).with_suffix(".py").read_text() for module in COMPILED}
    told = declarations(sources, COMPILED)
    for module, source in sources.items():
        target = (work / Path(*module.split("."))).with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        for package in (target.parent, target.parent.parent):
            (package / "__init__.py").touch()
        target.write_text(_without_foreign_bases(source, COMPILED[module]))
        target.with_suffix(".pxd").write_text(told[module])
    for module in native_here():
        source_path = Path(*module.split(".")).with_suffix(".pyx")
        for package in source_path.parents[:-1]:
            (work / package).mkdir(parents=True, exist_ok=True)
            (work / package / "__init__.py").touch()
        shutil.copyfile(root / source_path, work / source_path)
        beside = (root / source_path).parent
        for included in (*beside.glob(f"{source_path.stem}_*.pxi"), *beside.glob(f"{source_path.stem}.pxd")):
            shutil.copyfile(included, work / source_path.parent / included.name)
    subprocess.run([sys.executable, __file__], cwd=work, check=True)
    packages = {module.split(".")[0] for module in (*COMPILED, *NATIVE)}
    return sorted(built for package in packages for built in (work / package).rglob("*.so"))


def native_here() -> list[str]:
    """The modules of ``NATIVE`` that this system can have."""
    return [module for module, systems in NATIVE.items() if not systems or sys.platform in systems]


def build() -> None:
    """Run Cython and the C compiler on the modules below the current directory, in a process of its own."""
    from Cython.Build import cythonize
    from setuptools import Extension, setup

    sources = [f"{module.replace('.', '/')}.py" for module in COMPILED]
    sources += [f"{module.replace('.', '/')}.pyx" for module in native_here()]
    extensions = [
        Extension(str(Path(source).with_suffix("")).replace("/", "."), [source], extra_compile_args=_COMPILE_ARGS)
        for source in sources
    ]
    setup(
        name="driftline-compiled",
        packages=[],
        script_args=["--quiet", "build_ext", "--inplace", f"--parallel={os.cpu_count() or 1}"],
        ext_modules=cythonize(extensions, compiler_directives=_DIRECTIVES, quiet=True, nthreads=os.cpu_count() or 1),
    )


def _without_foreign_bases(source: str, names: Sequence[str]) -> str:
    """An extension type cannot inherit from a class of Python; ``asyncio.Protocol`` is one that nobody looks for."""
    for name in names:
        source = re.sub(rf"^class {name}\(asyncio\.Protocol\):", f"class {name}:", source, flags=re.MULTILINE)
    return source


@dataclass
class _Declared:
    """What is declared of one class."""

    bases: list[str]
    attributes: dict[str, str] = field(default_factory=dict)
    methods: list[str] = field(default_factory=list)


def declarations(sources: Mapping[str, str], plan: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The text of each module's .pxd. ``plan``: as ``COMPILED``."""
    trees = {module: ast.parse(source) for module, source in sources.items()}
    places = {name: module for module, names in plan.items() for name in names}
    classes = {
        node.name: _declared(node, set(places))
        for module, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and places.get(node.name) == module
    }
    return {module: _pxd(tree, plan[module], classes, places) for module, tree in trees.items()}


def _pxd(tree: ast.Module, names: Sequence[str], classes: Mapping[str, _Declared], places: Mapping[str, str]) -> str:
    lines = [
        f"from {node.module} cimport {alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if places.get(alias.name) == node.module
    ]
    if any(method.startswith("@cython") for name in names for method in classes[name].methods):
        lines.insert(0, "cimport cython")
    for name in names:
        found = classes[name]
        inherited = {attribute for base in found.bases for attribute in classes[base].attributes}
        lines += ["", f"cdef class {name}({', '.join(found.bases)}):" if found.bases else f"cdef class {name}:"]
        lines += [
            f"    cdef public {kind} {attribute}"
            for attribute, kind in sorted(found.attributes.items())
            if attribute not in inherited
        ]
        lines += [f"    {method}" for method in found.methods]
    return "\n".join(lines) + "\n"


def _declared(node: ast.ClassDef, known: set[str]) -> _Declared:
    found = _Declared([base.id for base in node.bases if isinstance(base, ast.Name) and base.id in known])
    for method in node.body:
        if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = {
            each.arg: _fitting(each.arg, _type(each.annotation, known))
            for each in (*method.args.args, *method.args.kwonlyargs)
        }
        for target, annotation, value in _assigned(method):
            kind = _type(annotation, known) if annotation is not None else _type_of_value(value, arguments, known)
            if annotation is not None or target not in found.attributes:
                found.attributes[target] = _fitting(target, kind)
        if _may_be_called_directly(method):
            if stated := _stated(method, known):
                found.methods.append(f"@cython.locals({stated})")
            kinds = ", ".join(f"{arguments[each.arg]} {each.arg}" for each in method.args.args[1:])
            found.methods.append(f"cpdef object {method.name}(self{', ' if kinds else ''}{kinds})")
    return found


def _stated(method: ast.FunctionDef | ast.AsyncFunctionDef, known: set[str]) -> str:
    """Local variables that are stated, without a value, to be of an extension type or a number of C."""
    stated = {
        node.target.id: _fitting(node.target.id, _type(node.annotation, known))
        for node in ast.walk(method)
        if isinstance(node, ast.AnnAssign) and node.value is None and isinstance(node.target, ast.Name)
    }
    return ", ".join(f"{name}={_LOCAL.get(kind, kind)}" for name, kind in stated.items() if kind in known | {*_LOCAL})


def _fitting(name: str, kind: str) -> str:
    """Nanoseconds since 1970 stay numbers of Python: those of far dates have more than 63 bits."""
    return "object" if name.endswith("_ns") and kind in _C_TYPES.values() else kind


def _assigned(method: ast.AST) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Attributes of ``self`` that are assigned: name, annotation, value."""
    for node in ast.walk(method):
        if isinstance(node, ast.AnnAssign):
            pairs: list[tuple[ast.expr, ast.expr | None]] = [(node.target, node.value)]
            annotation: ast.expr | None = node.annotation
        elif isinstance(node, ast.Assign):
            pairs, annotation = [pair for target in node.targets for pair in _pairs(target, node.value)], None
        else:
            continue
        for target, value in pairs:
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                yield target.attr, annotation, value


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr | None]]:
    if not isinstance(target, ast.Tuple):
        return [(target, value)]
    if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(each, None) for each in target.elts]


def _type(annotation: ast.expr | None, known: set[str]) -> str:
    """What Cython is told where the source says this."""
    match annotation:
        case ast.Name(id=name) if name in _C_TYPES:
            return _C_TYPES[name]
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)) if name in _BUILTINS or name in known:
            return name
        case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
            kind = _type(left, known)
            return "object" if kind in _C_TYPES.values() else kind
    return "object"


def _type_of_value(value: ast.expr | None, arguments: dict[str, str], known: set[str]) -> str:
    match value:
        case ast.UnaryOp(operand=operand):
            return _type_of_value(operand, arguments, known)
        case ast.List() | ast.Dict():
            return type(value).__name__.lower()
        case ast.Constant(value=constant) if type(constant).__name__ in (*_C_TYPES, *_BUILTINS):
            name = type(constant).__name__
            return _C_TYPES.get(name, name)
        case ast.Name(id=name) if name in arguments:
            return arguments[name]
        case ast.Call(func=ast.Name(id="len")):
            return _C_TYPES["int"]
        case ast.Call(func=ast.Name(id=name)) if name in known:
            return name
    return "object"


def _may_be_called_directly(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether Cython can give it an entry of its own: plain arguments, no decorator, no function inside."""
    plain = method.args
    if isinstance(method, ast.AsyncFunctionDef) or method.decorator_list or method.name.startswith("__"):
        return False
    if plain.kwonlyargs or plain.posonlyargs or plain.defaults or plain.vararg or plain.kwarg:
        return False
    inside = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.GeneratorExp, ast.Yield)
    return not any(isinstance(node, inside) for node in ast.walk(method) if node is not method)


if __name__ == "__main__":
    build()
