"""`convoy plan`: how a model would be placed, what decides its speed, what is proved, and what a board more would buy.

It changes nothing, and needs neither a controller nor boards. Which boards it plans for is `plan_boards`' to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Objective

from convoy_controller.cli.completing import complete_models
from convoy_controller.cli.fleet import client_of, target_command
from convoy_controller.cli.options import REPLICAS_HELP, JsonOption
from convoy_controller.cli.plan_boards import FLEET, said_of
from convoy_controller.cli.printing import print_facts, print_json, print_table, size
from convoy_controller.home import Home

if TYPE_CHECKING:
    from convoy_schema.topology import Topology

    from convoy_controller.api_client.opening import Elsewhere
    from convoy_controller.cli.plan_boards import Boards
    from convoy_controller.planning.solution import Solution
    from convoy_controller.planning.solver import OneMore


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(plan)


@target_command
def plan(
    target: Home | Elsewhere,
    model: Annotated[
        str, typer.Argument(help="Name of a model, as `convoy models` lists it.", autocompletion=complete_models)
    ],
    boards: Annotated[
        str | None,
        typer.Option(
            "--boards",
            metavar="N|FILE|fleet",
            help="So many boards of --kind, a TOML file that lists boards, or `fleet`: those online now, with "
            "measured figures where there are. Unless given: those online, by the model alone, as `convoy deploy`.",
        ),
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version; the newest unless given.")] = None,
    method: Annotated[Method, typer.Option("--method", help="How it is brought onto the boards.")] = Method.LIBRARY,
    objective: Annotated[
        Objective, typer.Option("--objective", help="What the plan makes best.")
    ] = Objective.THROUGHPUT,
    cut: Annotated[Cut, typer.Option("--cut", help="Whether several boards may share a stage.")] = Cut.PIPELINE,
    replicas: Annotated[int, typer.Option("--replicas", min=0, max=1024, help=REPLICAS_HELP)] = 0,
    batch: Annotated[int, typer.Option("--batch", min=1, max=4096, help="Most samples in one frame.")] = 32,
    kind: Annotated[str, typer.Option("--kind", help="What N boards are.")] = "pynq-z2",
    spare: Annotated[int, typer.Option("--spare", min=0, help="Boards to keep out of the plan.")] = 0,
    exactly: Annotated[
        bool, typer.Option("--exactly", help="Use every board that can have a layer, as `convoy deploy --boards` does.")
    ] = False,
    processor: Annotated[
        bool,
        typer.Option(
            "--processor",
            help="Let layers run on the processors of --kind or a file; boards online say it themselves.",
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the pipeline's time line.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save-profiles", metavar="FILE.toml", help="Write the boards as a file that --boards reads."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how a model would be cut over boards: stages, bottleneck, proven bound, and what one more board would buy.

    JSON keys: model, version, method, objective, cut, batch_rows, boards_there, boards, period_s, samples_per_s,
    latency_s, bound_s, gap, exact, search, bottleneck, ready_s, stages (first, last, layers, boards, replicas,
    seconds, receive_s, send_s, memory_bytes, ready_s, processor, figures), one_more (kind, value_s, gain), notes,
    figures (by boards: source, factor, rows), hop (source, seconds). Exit codes: 0, 1 no plan (board, need and have
    are named), 2 not a number or file of boards, or nowhere to draw or write, 3 no such model or kind, or no board
    online, 4 no fleet there.
    """
    wish = _Asked(model, version, method, objective, cut, replicas, batch, spare, exactly)
    if not isinstance(target, Home):
        if plot is not None or save is not None or (boards is not None and boards != FLEET and not boards.isdecimal()):
            raise typer.BadParameter("a file of boards, --plot and --save-profiles are for a fleet on this machine")
        with client_of(target) as fleet:
            found = fleet.what_if(wish.body(boards, kind, processor))
    else:
        found = _plan_here(target, wish, boards, kind, processor, plot, save)
    print_json(found) if as_json else _show(found)


@dataclass(frozen=True)
class _Asked:
    """What is to be planned."""

    model: str
    version: str | None
    method: Method
    objective: Objective
    cut: Cut
    replicas: int
    batch: int
    spare: int
    exactly: bool

    def body(self, boards: str | None, kind: str, processor: bool) -> dict[str, Any]:
        """As the API takes it."""
        body = {name: getattr(value, "value", value) for name, value in vars(self).items()}
        if boards is None or boards == FLEET:
            return body | {"measured": boards == FLEET}
        return body | {"profile": {"name": kind, "count": int(boards), "processor": processor}}


def _plan_here(
    home: Home, asked: _Asked, boards: str | None, kind: str, processor: bool, plot: Path | None, save: Path | None
) -> dict[str, Any]:
    """The plan as `--json` prints it, and drawn or written where that is wanted."""
    from convoy_schema import codec
    from convoy_schema.topology import Topology

    from convoy_controller.cli.plan_boards import boards_for
    from convoy_controller.database.engine import open_database
    from convoy_controller.database.publications import find_model
    from convoy_controller.planner import may_share
    from convoy_controller.planning.costing import HOP_S, instance_of
    from convoy_controller.planning.instance import Wish
    from convoy_controller.planning.solver import notes, one_more, solve

    database = open_database(home.database_url)
    try:
        saved = find_model(database, asked.model, asked.version)
        there = boards_for(database, boards, kind, asked.method, processor)
    finally:
        database.close()
    topology = codec.unpack(Topology, saved.announcement.topology)
    whole = asked.method is Method.STREAM  # a shell with the whole network: boards can only be replicas
    hop_s = HOP_S if there.hop_s is None else there.hop_s
    instance = instance_of(topology, there.models(asked.method), asked.batch, cuts=not whole, hop_s=hop_s)
    may = whole or may_share(asked.cut, asked.replicas)
    wish = Wish(asked.objective, may, asked.replicas, spare=asked.spare, exactly=asked.exactly)
    solution = solve(instance, wish)
    if plot is not None:
        _draw(solution, f"{saved.name} {saved.version}, {asked.method.value}, {asked.cut.value}", plot)
    if save is not None:
        _save(there, save)
    found = plain_plan(solution, topology, one_more(instance, wish, solution), notes(instance, wish, solution))
    for stage in found["stages"]:
        stage["figures"] = there.figures(stage["boards"])
    facts = {"model": saved.name, "version": saved.version, "method": asked.method.value, "cut": asked.cut.value}
    return facts | {"boards_there": instance.boards} | found | there.plain()


def plain_plan(
    solution: Solution, topology: Topology, more: tuple[OneMore, ...], said: tuple[str, ...]
) -> dict[str, Any]:
    """As `--json` prints it."""
    names = [layer.name for layer in topology.layers]
    return {
        "objective": solution.objective.value,
        "batch_rows": solution.batch_rows,
        "boards": solution.boards,
        "period_s": solution.period_s,
        "samples_per_s": 1.0 / solution.period_s,
        "latency_s": solution.latency_s,
        "bound_s": solution.bound_s,
        "gap": solution.gap,
        "exact": solution.exact,
        "search": solution.method,
        "bottleneck": solution.bottleneck,
        "ready_s": solution.ready_s,
        "stages": [
            {
                "first": stage.first,
                "last": stage.last,
                "layers": names[stage.first : stage.last],
                "boards": stage.kind,
                "replicas": stage.replicas,
                "seconds": stage.seconds,
                "receive_s": stage.receive_s,
                "send_s": stage.send_s,
                "memory_bytes": stage.memory_bytes,
                "ready_s": stage.ready_s,
                "processor": list(stage.processor),
            }
            for stage in solution.stages
        ],
        "one_more": [{"kind": each.kind, "value_s": each.value_s, "gain": each.gain} for each in more],
        "notes": list(said),
    }


def _show(found: Mapping[str, Any]) -> None:
    """The plan that `--json` prints, for people."""
    print_table(
        (
            "STAGE",
            "BOARDS",
            "LAYERS",
            "ON THE PROCESSOR",
            "COMPUTE",
            "RECEIVE",
            "SEND",
            "MEMORY",
            "READY IN",
            "FIGURES",
        ),
        [
            (
                str(number),
                f"{stage['replicas']} x {stage['boards']}",
                f"{stage['layers'][0]} to {stage['layers'][-1]} ({len(stage['layers'])})",
                ", ".join(stage["processor"]) or "-",
                _time(stage["seconds"]),
                _time(stage["receive_s"]),
                _time(stage["send_s"]),
                size(stage["memory_bytes"]),
                _time(stage["ready_s"]),
                stage["figures"],
            )
            for number, stage in enumerate(found["stages"])
        ],
    )
    gap, period_s = found["gap"], found["period_s"]
    proof = "no plan is better" if gap <= 1e-9 else f"no plan is more than {gap:.2%} better"
    print_facts(
        [
            ("boards", f"{found['boards']} of {found['boards_there']}"),
            ("throughput", f"{1 / period_s:,.1f} samples/s, one every {_time(period_s)}"),
            ("latency", f"{_time(found['latency_s'])} a sample, in frames of {found['batch_rows']}"),
            ("bottleneck", found["bottleneck"]),
            ("bound", f"{_time(found['bound_s'])} for {found['objective']}: {proof} ({found['search']})"),
            *(("one more", _worth(each)) for each in found["one_more"]),
            *(("note", note) for note in found["notes"]),
            *said_of(found["figures"], found["hop"]),
        ]
    )


def _worth(more: Mapping[str, Any]) -> str:
    if more["gain"] < 1e-6:
        return f"{more['kind']} would buy nothing"
    return f"{more['kind']} would bring it to {_time(more['value_s'])}, {more['gain']:.1%} less"


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.4g} ms"


def _save(there: Boards, path: Path) -> None:
    from convoy_controller.errors import ProfileError
    from convoy_controller.planning.profiles import written

    comments = ["Boards for `convoy plan MODEL --boards FILE` (with --processor where layers may run on theirs)."]
    comments += [f"{word}: {what}" for word, what in there.said()]
    try:
        path.write_text(written([(kind.profile, kind.count) for kind in there.kinds], comments), encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"the boards cannot be written to {path}: {error}") from error


def _draw(solution: Solution, title: str, path: Path) -> None:
    from convoy_controller.errors import ProfileError
    from convoy_controller.planning.timeline import draw

    try:
        draw(solution, title, path)
    except (OSError, ValueError) as error:
        raise ProfileError(f"the time line cannot be written to {path}: {error}") from error
