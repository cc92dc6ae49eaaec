"""``driftline deadletters``: what the collector could not use, why, and trying again once the cause is mended."""

import base64
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from driftline.cli import wiring
from driftline.cli.api import COLLECTOR, Url, request_json
from driftline.cli.moments import FORMS, moment_s
from driftline.errors import SettingsError

Model = Annotated[str | None, typer.Option(help="NAMESPACE/MODEL, or the model's name.")]
Reason = Annotated[str | None, typer.Option(help="Why it became one, such as unknown_model.")]
Since = Annotated[str | None, typer.Option(help=f"Since when, {FORMS}.")]
Partition = Annotated[str | None, typer.Option(help="A partition of the source, or what it begins with.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_SHOWN_CHARACTERS = 2000
#: Letters of one answer.
_PAGE = 1000


def list_letters(
    url: Url = COLLECTOR,
    model: Model = None,
    reason: Reason = None,
    since: Since = None,
    partition: Partition = None,
    state: Annotated[str, typer.Option(help="open, replayed or all.")] = "open",
    limit: Annotated[int, typer.Option(help="At most so many, the newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first, and say of each reason what it means and what to do."""
    wanted = {
        "model": model,
        "reason": reason,
        "since_s": moment_s("since", since, wiring.clock()),
        "partition": partition,
    }
    found = _pages(url, {**wanted, "state": state}, limit + 1)
    more, found = len(found) > limit, found[:limit]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for letter in found:
        at = datetime.fromtimestamp(letter["time_s"], UTC)
        place = f"{letter['partition']}/{letter['offset']}"
        detail = letter["detail"][:100]
        typer.echo(
            f"{at:%Y-%m-%d %H:%M:%S}  {place}  {letter['namespace']}/{letter['model']}  {letter['reason']}: {detail}"
        )
    if not found:
        typer.echo("no dead letters fit")
        return
    typer.echo("")
    for (word, meaning, advice), number in _by_reason(found):
        typer.echo(f"{number} {word}: {meaning}\n    what to do: {advice}")
    if more:
        typer.echo(f"\nthese are the newest {len(found)}, and there are more: --limit")


def _pages(url: str, wanted: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        after = {"after": f"{found[-1]['partition']}/{found[-1]['offset']}"} if found else {}
        size = min(limit - len(found), _PAGE)
        page = request_json("GET", f"{url}/v1/deadletters", {**wanted, **after, "limit": size})
        found += page
        if len(page) < size:
            break
    return found


def show(
    place: Annotated[str, typer.Argument(help="PARTITION/OFFSET, as 'list' prints it.")],
    url: Url = COLLECTOR,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: why, what to do, what was tried, and its bytes."""
    partition, separator, offset = place.rpartition("/")
    if not separator or not offset.isdigit():
        raise SettingsError("deadletters show", [f"'{place}' is not PARTITION/OFFSET, as 'deadletters list' prints it"])
    letter = request_json("GET", f"{url}/v1/deadletters/{partition}/{offset}")
    if as_json:
        typer.echo(json.dumps(letter, indent=2))
        return
    typer.echo(f"{'time:':<16}{datetime.fromtimestamp(letter['time_s'], UTC):%Y-%m-%d %H:%M:%S}")
    for name in ("namespace", "model", "event_id", "reason", "detail", "meaning", "advice", "state", "not_replayable"):
        if letter[name] is not None:
            typer.echo(f"{name + ':':<16}{letter[name]}")
    for attempt in letter["attempts"]:
        at = datetime.fromtimestamp(attempt["at_s"], UTC)
        tried = f"{attempt['outcome']} {attempt['reason']} {attempt['detail']}"
        typer.echo(f"attempt {attempt['attempt']}:      {at:%Y-%m-%d %H:%M:%S} {tried}")
    for side in ("request", "response"):
        if letter[side]:
            typer.echo(f"\n{side}:\n{_text(base64.b64decode(letter[side]))}")
    if not letter["request"] and not letter["response"]:
        typer.echo(f"\n{letter['raw'][:_SHOWN_CHARACTERS]}")


def replay(
    place: Annotated[str | None, typer.Argument(help="One, as PARTITION/OFFSET; all that fit when left out.")] = None,
    url: Url = COLLECTOR,
    model: Model = None,
    reason: Reason = None,
    since: Since = None,
    partition: Partition = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest first.")] = 1000,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would become of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replay dead letters after their cause was mended; without --yes it is a trial.

    An event is stored once, however often it is replayed. Exits 1 when some would fail again.
    """
    offset = None
    if place is not None:
        partition, _, number = place.rpartition("/")
        if not partition or not number.isdigit():
            raise SettingsError("deadletters replay", [f"'{place}' is not PARTITION/OFFSET"])
        offset = int(number)
    wanted = {
        "model": model,
        "reason": reason,
        "since_s": moment_s("since", since, wiring.clock()),
        "partition": partition,
        "offset": offset,
    }
    body = {**{name: value for name, value in wanted.items() if value is not None}, "limit": limit, "dry_run": not yes}
    report = request_json("POST", f"{url}/v1/deadletters/replay", body=body, timeout_s=600.0)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        counted = (
            ", ".join(f"{number} {outcome}" for outcome, number in sorted(report["outcomes"].items())) or "none fit"
        )
        typer.echo(f"{'would be' if report['dry_run'] else 'replayed'}: {counted}")
        for fault in report["faults"][:20]:
            typer.echo(f"  {fault['partition']}/{fault['offset']}  {fault['reason']}: {fault['detail']}")
        if report["found"] >= limit:
            typer.echo(f"{limit} were looked at, as many as --limit allows; there may be more")
        if report["dry_run"] and report["outcomes"].get("stored"):
            typer.echo("a trial; --yes does it")
    if report["faults"]:
        raise typer.Exit(1)


def _by_reason(found: list[dict[str, Any]]) -> list[tuple[tuple[str, str, str], int]]:
    return Counter((each["reason"], each["meaning"], each["advice"]) for each in found).most_common()


def _text(body: bytes) -> str:
    return body[:_SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
