"""``driftline doctor``: walks the whole chain, link by link, and names the broken one with what to do."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from driftline import names
from driftline.cli import wiring
from driftline.cli.ports import HOST, Ports
from driftline.cli.up import ADDRESSES_FILE
from driftline.completeness import Sample
from driftline.errors import DriftlineError

State = Literal["ok", "broken", "unknown"]
TIMEOUT_S = 3.0
MARKS = {"ok": ("ok     ", "green"), "broken": ("BROKEN ", "red"), "unknown": ("unknown", "yellow")}
#: A spool fuller than this is about to drop.
SPOOL_NEARLY_FULL = 0.9
#: A detectors job that has not looked for this long (real seconds) is stuck.


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain: what was looked at, how it is, what was seen, and what to do if it is broken."""

    name: str
    state: State
    seen: str
    advice: str = ""


def doctor(
    monitors: Annotated[Path, typer.Option(help="Directory of monitor files.", envvar="DRIFTLINE_MONITORS")] = Path(
        "monitors"
    ),
    data_dir: Annotated[Path, typer.Option(help="Data directory of 'up'; its addresses are used.")] = (
        wiring.DEFAULT_DATA_DIR
    ),
    address: Annotated[
        list[str] | None, typer.Option(help="PART=URL where a part is elsewhere, such as collector=http://host:9084.")
    ] = None,
) -> None:
    """Walk the chain from the model server to the page and name the broken link with what to do.

    Exits 1 when a link is broken.
    """
    links = list(walk(monitors, part_addresses(data_dir, address or ())))
    for link in links:
        mark, colour = MARKS[link.state]
        typer.echo(typer.style(mark, fg=colour) + f"  {link.name}: {link.seen}")
        if link.state == "broken":
            typer.echo(f"           what to do: {link.advice}")
    broken = [link for link in links if link.state == "broken"]
    if broken:
        typer.echo(f"first broken link: {broken[0].name}")
        raise typer.Exit(1)
    typer.echo("the chain holds")


def walk(monitors: Path, addresses: Mapping[str, str]) -> Iterator[Link]:
    """Every link in the order that a prediction travels."""
    yield _monitors(monitors)
    yield _http("model server", f"{addresses['upstream']}/v2/health/ready", "start it, or correct --upstream", True)
    yield _http(
        "sidecar", f"{addresses['proxy_admin']}/healthz", "start 'driftline sidecar'; its log says why it ended"
    )
    yield _http(
        "sidecar to model server", f"{addresses['proxy_admin']}/readyz", "the sidecar's --upstream is wrong or down"
    )
    scraped = _scrape(f"{addresses['proxy_admin']}/metrics")
    yield _capture(scraped)
    yield _spool(scraped)
    if "kafka" in addresses:
        yield _http(
            "shipper to Kafka", f"{addresses['shipper']}/healthz", "is the broker up, and the bootstrap address right?"
        )
    yield _collector(f"{addresses['collector']}/healthz")
    collected = _scrape(f"{addresses['collector']}/metrics")
    yield _stored(collected)
    yield _dead_letters(collected)
    yield _labels(collected)
    yield _http("detectors", f"{addresses['detectors']}/healthz", "start 'driftline detectors'")
    yield _windows(_scrape(f"{addresses['detectors']}/metrics"))
    yield _http("web pages and page desk", f"{addresses['web']}/healthz", "start 'driftline dashboards serve'")


def part_addresses(data_dir: Path, given: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Where the parts are: as 'up' wrote it down, else at their usual ports; PART=URL in ``given`` wins."""
    ports = Ports()
    addresses = {
        "upstream": f"http://{HOST}:{ports.model}",
        **{name: f"http://{HOST}:{getattr(ports, name)}" for name in Ports.__dataclass_fields__},
    }
    file = data_dir / ADDRESSES_FILE
    if file.exists():
        addresses.update(json.loads(file.read_text(encoding="utf-8")))
    for each in given:
        part, separator, url = each.partition("=")
        if not separator or part not in {*addresses, "kafka"}:
            raise typer.BadParameter(f"'{each}' is not PART=URL with PART one of {', '.join(sorted(addresses))}, kafka")
        addresses[part] = url
    return addresses


def _monitors(directory: Path) -> Link:
    try:
        files = wiring.load_monitor_files(directory)
    except DriftlineError as error:
        return Link("monitors", "broken", str(error), "correct the file; 'driftline schema' prints what is allowed")
    missing = [
        str(file.reference_path) for file in files.values() if file.reference_path and not file.reference_path.exists()
    ]
    if missing:
        return Link(
            "monitors", "broken", f"no file {missing[0]}", "correct reference.path, or write the reference there"
        )
    return Link("monitors", "ok", f"{len(files)} ({', '.join(files)})")


def _http(name: str, url: str, advice: str, any_answer: bool = False) -> Link:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 - the user's own addresses
            return Link(name, "ok", f"{url} answers {response.status}")
    except urllib.error.HTTPError as error:
        if any_answer and error.code < 500:
            return Link(name, "ok", f"{url} answers {error.code}: it is there, though without that path")
        detail = error.read(300).decode(errors="replace").strip()
        return Link(name, "broken", f"{url} answers {error.code} {detail}", advice)
    except OSError as error:
        return Link(name, "broken", f"{url}: {getattr(error, 'reason', error)}", advice)


def _collector(url: str) -> Link:
    """Whether it works; one that waits is well itself, and says for what."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 - the user's own address
            said = json.load(response)
    except (OSError, ValueError):
        return _http("collector", url, "start 'driftline collector'; a stuck one names its part")
    if said.get("state") == "waiting":
        return Link("collector", "broken", f"it waits: {said.get('detail')}", "see to what it waits for")
    return Link("collector", "ok", f"{url} answers 200, and is {said.get('state')}")


class Scraped:
    """What one part's metrics say."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __call__(self, metric: names.Metric, label: str = "", value: str = "") -> float:
        """The sum of a metric's samples whose label has a value."""
        return sum(sample.value for sample in self._of(metric, label, value))

    def models(self, metric: names.Metric, label: str, value: str) -> list[str]:
        """Namespace and model of those samples, where something was counted."""
        counted = [sample.labels for sample in self._of(metric, label, value) if sample.value]
        return sorted({f"{labels.get(names.NAMESPACE)}/{labels.get(names.MODEL)}" for labels in counted})

    def _of(self, metric: names.Metric, label: str, value: str) -> Iterator[Sample]:
        for sample in self._samples:
            if sample.name == metric.name and (not label or sample.labels.get(label) == value):
                yield sample


def _scrape(url: str) -> Scraped | None:
    """What the metrics at ``url`` say, or None when it does not answer."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 - the user's own addresses
            text = response.read().decode()
    except OSError:
        return None
    families = text_string_to_metric_families(text)
    return Scraped([Sample(each.name, each.labels, each.value) for family in families for each in family.samples])


def _capture(total: Scraped | None) -> Link:
    if total is None:
        return Link("capture", "unknown", "the sidecar's metrics do not answer")
    logged = total(names.CAPTURE_EVENTS, names.OUTCOME, names.OUTCOME_LOGGED)
    dropped = total(names.CAPTURE_EVENTS, names.OUTCOME, names.OUTCOME_DROPPED)
    everything = total(names.CAPTURE_EVENTS, "", "")
    if everything == 0:
        return Link("capture", "unknown", "no inference has passed; do clients talk to the sidecar's port?")
    seen = f"{everything:.0f} inferences: {logged:.0f} logged, {dropped:.0f} dropped"
    if dropped:
        return Link(
            "capture", "broken", seen, f"see {names.CAPTURE_EVENTS.name} by reason; a full spool or disk is usual"
        )
    return Link("capture", "ok", seen)


def _spool(total: Scraped | None) -> Link:
    if total is None:
        return Link("spool", "unknown", "the sidecar's metrics do not answer")
    held, limit = total(names.SPOOL_BYTES, "", ""), total(names.SPOOL_LIMIT_BYTES, "", "")
    seen = f"{held:,.0f} of {limit:,.0f} bytes"
    if limit and held > SPOOL_NEARLY_FULL * limit:
        return Link("spool", "broken", seen, "nothing reads it fast enough: look at the shipper and the broker")
    return Link("spool", "ok", seen)


def _stored(total: Scraped | None) -> Link:
    if total is None:
        return Link("events stored", "unknown", "the collector's metrics do not answer")
    stored = total(names.COLLECTOR_EVENTS, names.OUTCOME, names.OUTCOME_STORED)
    if stored == 0:
        return Link("events stored", "unknown", "none yet")
    return Link("events stored", "ok", f"{stored:.0f}")


def _dead_letters(total: Scraped | None) -> Link:
    if total is None:
        return Link("dead letters", "unknown", "the collector's metrics do not answer")
    dead = total(names.COLLECTOR_EVENTS, names.OUTCOME, names.OUTCOME_DEAD_LETTER)
    if dead:
        advice = "'driftline deadletters list' says why, and what to do"
        if unmonitored := total.models(names.COLLECTOR_EVENTS, names.REASON, "unknown_model"):
            advice += f"; no monitor describes {', '.join(unmonitored)}: 'driftline init' writes one"
        return Link("dead letters", "broken", f"{dead:.0f} events could not be used", advice)
    return Link("dead letters", "ok", "none")


def _labels(total: Scraped | None) -> Link:
    if total is None:
        return Link("labels", "unknown", "the collector's metrics do not answer")
    joined = total(names.LABELS, names.OUTCOME, "joined")
    waiting = total(names.LABELS, names.OUTCOME, "pending")
    if joined == 0 and waiting == 0:
        return Link("labels", "unknown", "none yet; 'driftline labels send' sends them")
    if joined == 0:
        return Link(
            "labels",
            "broken",
            f"{waiting:.0f} wait, none joined",
            "are their request ids the ones the sidecar returned?",
        )
    return Link("labels", "ok", f"{joined:.0f} joined")


def _windows(total: Scraped | None) -> Link:
    if total is None:
        return Link("windows", "unknown", "the detectors' metrics do not answer")
    evaluated = total(names.WINDOWS_EVALUATED, "", "")
    return Link("windows", "ok" if evaluated else "unknown", f"{evaluated:.0f} evaluated")
