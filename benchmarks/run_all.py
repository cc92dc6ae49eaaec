"""Run every benchmark of this folder and write their figures into ``RESULTS.md``.

A benchmark is a script that ends with one line of JSON: ``{"benchmark": NAME, "figures": {...}, "against": {...},
"machine": {...}}``. ``python -m benchmarks.run_all [NAME ...]`` runs those named, or all; ``--compiled PYTHON`` adds
the compiled build of that environment where builds are compared, ``--soak`` ten minutes at full load to the sidecar's.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NO_BENCHMARKS = {"harness", "run_all", "windows"}
TIMEOUT_S = 1200.0
SOAK_S = 2400.0
#: Those that measure both builds.
OF_BUILDS = {"sidecar", "grpc_sidecar", "drift_speed", "collector"}


def main(arguments: Sequence[str]) -> int:
    """Run, write, and say whether all went well (0) or not (1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--compiled", metavar="PYTHON", help="of an environment with the compiled parts")
    parser.add_argument("--soak", action="store_true")
    chosen = parser.parse_args(arguments)
    wanted, scripts = chosen.names, _scripts()
    unknown = [name for name in wanted if name not in scripts]
    if unknown:
        print(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(scripts)}", file=sys.stderr)
        return 1
    results, failed = [], []
    for name in wanted or scripts:
        options = ["--compiled", chosen.compiled] if chosen.compiled and name in OF_BUILDS else []
        is_soaked = chosen.soak and name == "sidecar"
        print(f"{name} ...", flush=True)
        result = run(scripts[name], [*options, *(["--soak"] if is_soaked else [])], SOAK_S if is_soaked else TIMEOUT_S)
        if result is None:
            failed.append(name)
        else:
            results.append(result)
    path = HERE / "RESULTS.md"
    text = page(results, failed, datetime.now(UTC))
    path.write_text(kept(path.read_text(), text) if wanted and path.is_file() else text)
    print(f"wrote {len(results)} results" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _scripts() -> dict[str, Path]:
    """The benchmarks by name; ``NAME_PART.py`` is a part of ``NAME.py``."""
    found = {path.stem: path for path in sorted(HERE.glob("*.py")) if path.stem not in NO_BENCHMARKS}
    parts = {name for name in found if any(name.startswith(f"{other}_") for other in found)}
    return {name: path for name, path in found.items() if name not in parts}


def run(script: Path, options: Sequence[str], limit_s: float) -> dict[str, Any] | None:
    """The closing line of one benchmark; None, with what failed shown, when it fails or closes with something else."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{script.stem}", *options],
            cwd=HERE.parent,
            stdout=subprocess.PIPE,
            text=True,
            timeout=limit_s,
            check=True,
        )
        return closing_line(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        print(f"{script.stem} failed: {error}", file=sys.stderr)
        return None


def closing_line(output: str) -> dict[str, Any]:
    """The JSON on the last line that is not empty; raises ValueError when it is not a benchmark's."""
    lines = [line for line in output.splitlines() if line.strip()]
    try:
        result = json.loads(lines[-1] if lines else "")
    except json.JSONDecodeError as error:
        raise ValueError(f"the last line is not JSON: {lines[-1:]}") from error
    lacking = {"benchmark", "figures", "against", "machine"} - set(result)
    if lacking:
        raise ValueError(f"the closing line lacks {', '.join(sorted(lacking))}")
    return dict(result)


def page(results: Sequence[Mapping[str, Any]], failed: Sequence[str], when: datetime) -> str:
    """The results as Markdown: one table per benchmark, every figure as it was measured."""
    said = f"Written by `make bench`, the last time on {when:%Y-%m-%d}; the figures of a section come from one run."
    lines = ["# Results", "", said, ""]
    for result in results:
        lines += [f"## {result['benchmark']}", "", "| side | figure | value |", "| --- | --- | --- |"]
        lines += [f"| driftline | {name} | {shown(value)} |" for name, value in flat(result["figures"])]
        lines += [f"| against | {name} | {shown(value)} |" for name, value in flat(result["against"])]
        for table in result.get("tables", ()):
            lines += ["", f"### {table['title']}", "", *markdown(table["head"], table["rows"])]
        machine = ", ".join(f"{name} {shown(value)}" for name, value in flat(result["machine"]))
        lines += ["", f"Machine: {machine}.", ""]
    lines += [f"`{name}` failed in this run and has no figures.\n" for name in failed]
    return "\n".join(lines).rstrip() + "\n"


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A table as lines."""
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in (head, ["---"] * len(head), *rows)]


def kept(before: str, now: str) -> str:
    """The page ``now``, with those sections of the page ``before`` that it has none of; sections keep their places."""
    _, *old = before.split("\n## ")
    head, *new = now.split("\n## ")
    sections = {section.partition("\n")[0]: section.rstrip("\n") for section in (*old, *new)}
    return "\n\n## ".join([head.rstrip("\n"), *sections.values()]) + "\n"


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested figures as ``outer.inner`` names.

    >>> flat({"a": 1, "b": {"c": 2}})
    [('a', 1), ('b.c', 2)]
    """
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        found += flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found


def shown(value: object) -> str:
    """A number with four meaningful digits at least, anything else as it is.

    >>> shown(0.0123456), shown(123456.7), shown("x"), shown(3)
    ('0.01235', '123457', 'x', '3')
    """
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
