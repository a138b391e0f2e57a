"""`convoy demo`: a fleet on this machine that classifies handwritten digits, and survives the loss of a board."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut

from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.running import BrokerOption, interrupt_on_terminate, watch
from convoy_controller.home import Home

if TYPE_CHECKING:
    from convoy_controller.demo.trickle import Trickle
    from convoy_controller.local_fleet import LocalFleet


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(demo)


def demo(
    boards: Annotated[int, typer.Option("--boards", min=1, max=64, help="Emulated boards, a process each.")] = 3,
    method: Annotated[Method, typer.Option("--method", help="How the network is brought onto them.")] = Method.LIBRARY,
    data: Annotated[
        str, typer.Option("--data", help="digits (scikit-learn's, held-out half), mnist, or a folder of images.")
    ] = "digits",
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Folder of MNIST's IDX files; else CONVOY_DATA, else downloaded.")
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", min=1, max=10_000_000, help="How many; beyond the data set it repeats.")
    ] = None,
    kill: Annotated[bool, typer.Option("--kill", help="SIGKILL a board half way.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="End after the account instead of serving until Ctrl-C.")
    ] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Write the account to this file as JSON.")] = None,
    broker: BrokerOption = "auto",
    cut: Annotated[Cut, typer.Option("--cut", help="Whether several boards may share a stage.")] = Cut.PIPELINE,
    callers: Annotated[int, typer.Option("--callers", min=1, max=256, help="Requests under way at once.")] = 8,
    rows: Annotated[int, typer.Option("--rows", min=1, max=1024, help="Images in one request.")] = 1,
    stay: Annotated[
        bool, typer.Option("--stay", help="After the account, go on classifying gently: something to look at.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the dashboard, where there is a browser.")
    ] = True,
    fabric: Annotated[str, typer.Option("--fabric", help="emulated or processor.")] = "emulated",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The gateway's TCP port; 0: a free one.")] = 0,
) -> None:
    """Start a broker, controller, gateway and boards on this machine, and classify handwritten digits over them.

    The dashboard shows it, but for --once. Every answer is compared, bit by bit, with one process running the same
    network. Exit codes: 0 nothing was lost, failed, doubled or wrong; 1 something was, or the fleet did not come to
    serve; 2 usage; 4 no broker.
    """
    from convoy_controller.cli.browser import open_page
    from convoy_controller.cli.printing import console
    from convoy_controller.demo.screen import Screen
    from convoy_controller.demo.show import Demo, DemoOptions, is_clean, write_report
    from convoy_controller.local_fleet import LocalFleet, remove

    if stay and once:
        raise typer.BadParameter("goes on, and --once ends: give one of them", param_hint="--stay")
    if kill and boards < 2:
        raise typer.BadParameter(
            "a fleet of one board has no other to take over: use --boards 2 or more", param_hint="--kill"
        )
    options = DemoOptions(boards, method, cut, data, data_dir, images, kill, callers, rows, broker, port, fabric)
    directory = Path(tempfile.mkdtemp(prefix="convoy-demo-"))
    interrupt_on_terminate()
    screen = Screen(console())
    try:
        with LocalFleet(Home.locate(directory, f"sqlite:///{directory / 'convoy.db'}"), directory) as fleet:
            dashboard = "" if once else fleet.start_api()
            if dashboard:
                typer.echo(f"dashboard {dashboard}/")
            demonstration = Demo(options, fleet, screen)
            account = demonstration.run(lambda: open_page(dashboard) if browser and dashboard else None)
            if report is not None:
                write_report(account, report)
            if not once:
                _stay(fleet, directory, dashboard, demonstration.trickle() if stay else None)
    except KeyboardInterrupt:
        typer.echo("stopped")
        raise typer.Exit(ExitCode.FAILED) from None
    finally:
        remove(directory)
    if not is_clean(account):
        raise typer.Exit(ExitCode.FAILED)


def _stay(fleet: LocalFleet, directory: Path, dashboard: str, trickle: Trickle | None) -> None:
    typer.echo(f"still serving at {', '.join(fleet.gateways.values())}; in another terminal:")
    typer.echo(f"  export CONVOY_HOME={directory}")
    typer.echo("  convoy boards; convoy deployments lenet5; convoy events; convoy why board-1")
    typer.echo(f"  convoy infer --url {next(iter(fleet.gateways.values()))} FILE.png")
    typer.echo(f"the dashboard is at {dashboard}/" + (", and digits go on coming" if trickle else ""))
    typer.echo("Ctrl-C stops everything")
    if trickle is None:
        watch(fleet)
        return
    trickle.start()
    try:
        watch(fleet)
    finally:
        trickle.stop()
