"""In which form a report is written, and where: ``--format`` says it, or else the ending of ``--out``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from driftline.errors import SettingsError

#: The endings by which a form is known, the one that is written first.
ENDINGS = {
    "html": (".html", ".htm"),
    "json": (".json",),
    "markdown": (".md", ".markdown"),
    "text": (".txt",),
}
#: The option ``--out`` of a command that writes a report.
Out = Annotated[
    Path | None,
    typer.Option(help="File to write; standard output when left out. Without an ending it gets that of the form."),
]


def format_option(*forms: str) -> Any:  # of typer.Option, whose own type is that
    """The option ``--format`` of a command that writes a report in these forms."""
    listed = f"{', '.join(forms[:-1])} or {forms[-1]}"
    return typer.Option("--format", help=f"{listed}; when left out, what the ending of --out says, or else {forms[0]}.")


@dataclass(frozen=True, slots=True)
class ReportFile:
    """Where a report goes: ``path`` is None for standard output. ``subject``: the command, for messages."""

    subject: str
    form: str
    path: Path | None

    def write(self, text: str) -> None:
        """Write the file with its directories; raises SettingsError where that cannot be."""
        if self.path is not None:
            write_file(self.subject, self.path, text)


def write_file(subject: str, path: Path, text: str) -> None:
    """Write a file with its directories; raises SettingsError of the command where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(subject, [f"{path} cannot be written: {error.strerror}"]) from error


def form_of(path: Path, forms: Sequence[str]) -> str | None:
    """The form among these that a file's ending names.

    >>> form_of(Path("report.HTM"), ["html", "json"]), form_of(Path("report"), ["html"])
    ('html', None)
    """
    return next((form for form in forms if path.suffix.lower() in ENDINGS[form]), None)


def report_file(subject: str, forms: Sequence[str], form: str | None, out: Path | None) -> ReportFile:
    """What ``--format`` and ``--out`` ask for; the first of ``forms`` where neither says it.

    Raises SettingsError for a form that is none of these, an ending that says another one than ``--format`` does or
    none of them, and a directory.

    >>> report_file("report", ["html", "json"], None, Path("week.json")).form
    'json'
    >>> str(report_file("report", ["html", "json"], None, Path("week")).path)
    'week.html'
    """
    if form is not None and form not in forms:
        raise SettingsError(subject, [f"--format is '{form}', not one of {', '.join(forms)}"])
    if out is None:
        return ReportFile(subject, form or forms[0], None)
    if out.is_dir():
        raise SettingsError(subject, [f"--out {out} is a directory; name a file in it"])
    if out.exists() and not out.is_file():  # /dev/stdout, a pipe
        return ReportFile(subject, form or forms[0], out)
    if not out.suffix:
        chosen = form or forms[0]
        return ReportFile(subject, chosen, out.with_name(out.name + ENDINGS[chosen][0]))
    meant = form_of(out, list(ENDINGS))
    if form is None and meant not in forms:
        endings = ", ".join(ENDINGS[each][0] for each in forms)
        raise SettingsError(subject, [f"--out {out} ends in none of {endings}; or say --format"])
    if form is not None and meant not in (form, None):
        raise SettingsError(subject, [f"--out {out} is called {meant}, --format says {form}; change one of them"])
    return ReportFile(subject, form or meant or forms[0], out)
