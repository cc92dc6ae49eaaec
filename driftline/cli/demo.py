"""``driftline demo``: the whole path on one machine, told with the flights of 2013."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from driftline.cli.ports import HOST, Ports, free_ports
from driftline.cli.processes import Group
from driftline.cli.up import Machine, parts_of, run_until_interrupted

DEFAULT_DAY_S = 3.5


def demo(
    until_page: Annotated[
        bool, typer.Option("--until-page", help="Exit 0 once the page was delivered; 1 if none came or one in autumn.")
    ] = False,
    day_seconds: Annotated[float, typer.Option(help="Real seconds that one day of the story takes.", min=0.5)] = (
        DEFAULT_DAY_S
    ),
    data_dir: Annotated[Path, typer.Option(help="Where the demo keeps its files; emptied at the start.")] = Path(
        ".driftline/demo"
    ),
    kafka: Annotated[str | None, typer.Option(help="Go through this Kafka (bootstrap address).")] = None,
    database_url: Annotated[str | None, typer.Option(help="Keep the store there instead of in SQLite.")] = None,
    web_port: Annotated[int | None, typer.Option(help="Port of the web pages.")] = None,
    external_alerting: Annotated[
        bool, typer.Option("--external-alerting", help="Leave alerting to a Prometheus and an Alertmanager.")
    ] = False,
) -> None:
    """Watch a real model meet December: New York flights of 2013, with their weather, in about two minutes.

    A model is trained on autumn departures, served, and put behind the sidecar. Held-out autumn flights pass, their
    labels following late; then December comes day by day. Nothing is planted. Ctrl-C ends everything.
    """
    from driftline.cli.story import telling
    from driftline.cli.story.prepare import VERSION, prepare

    typer.echo("New York flights of 2013: will a flight arrive more than 15 minutes late?")
    typer.echo("[1/4] training a model on 60,000 autumn departures ...")
    prepared = prepare(data_dir.resolve())
    typer.echo(f"      it is right for {prepared.held_out_accuracy * 100:.1f} % of held-out autumn flights")
    clock = telling.story_clock(data_dir.resolve() / "clock", day_seconds)
    ports = free_ports(Ports() if web_port is None else Ports(web=web_port))
    machine = Machine(
        monitors=prepared.monitors_dir,
        data_dir=data_dir.resolve(),
        ports=ports,
        upstream=f"http://{HOST}:{ports.model}",
        namespace=prepared.monitor.namespace,
        models_dir=prepared.models_dir,
        database_url=database_url,
        kafka=kafka,
        alerting=not external_alerting,
        clock=clock.spec(),
        environ={**telling.PACE, "DRIFTLINE_SIDECAR_MODEL_VERSION": VERSION},
    )
    typer.echo("[2/4] starting model server, sidecar, collector, detectors, alert evaluation and web pages ...")
    with Group(machine.data_dir / "logs", typer.echo) as group:
        group.start(parts_of(machine))
        machine.write_addresses()
        outcome = telling.tell(machine, prepared, clock, group, typer.echo, until_page)
        if until_page:
            sys.exit(0 if outcome.paged_only_in_december else 1)
        clock.allow(clock())  # or the pages would soon tell of months without traffic
        typer.echo("The story is over; its clock stands and the pages stay up. Ctrl-C ends everything.")
        run_until_interrupted(group)
