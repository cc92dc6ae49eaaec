"""What the tests of the house look at: the Python files that belong to it, read as syntax."""

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@cache
def project() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages() -> list[str]:
    """The top-level packages: the floor and the rooms."""
    found: list[str] = project()["tool"]["importlinter"]["root_packages"]
    return found


def rooms() -> list[str]:
    """The packages that are rooms."""
    return [name for name in packages() if name != "driftline"]


@cache
def own_files() -> tuple[Path, ...]:
    """Every file of the repository, tracked or about to be; without git, everything that is not hidden."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        return tuple(ROOT / name for name in sorted(names) if name and (ROOT / name).is_file())
    return tuple(path for path in sorted(ROOT.rglob("*")) if path.is_file() and not _hidden(path))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)


@dataclass(frozen=True)
class Module:
    """One Python file; what is asked of its syntax is found once and kept, because many tests ask."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """The path from the root, for messages."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def tree(self) -> ast.Module:
        """The file as syntax."""
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of the syntax, in no order."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def imports(self) -> tuple[tuple[str, int, bool], ...]:
        """Every import: the module's dotted name, the line, and whether it stands inside a function."""
        return tuple(_imports(self.tree, inside=False))

    @cached_property
    def functions(self) -> tuple[tuple[str, int], ...]:
        """Every function with the lines from its first decorator or ``def`` to its end."""
        return tuple(
            (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
            for node in self.nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )

    @cached_property
    def strings(self) -> tuple[tuple[str, int], ...]:
        """Every string that is no docstring, with its line."""
        docstrings = {
            id(node.body[0].value)
            for node in self.nodes
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        return tuple(
            (node.value, node.lineno)
            for node in self.nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        )


def _imports(node: ast.AST, *, inside: bool) -> Iterator[tuple[str, int, bool]]:
    if isinstance(node, ast.expr):  # no import stands in an expression, and most of a tree is expressions
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno, inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module or "", child.lineno, inside
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _imports(child, inside=inside or function)


@cache
def _module(path: Path) -> Module:
    return Module(path, path.read_text())


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """The Python files of some top-level folders."""
    return tuple(
        _module(path) for path in own_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders
    )
