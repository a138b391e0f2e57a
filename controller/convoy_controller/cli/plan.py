"""`convoy plan`: how a model would be placed, what decides its speed, what is proved, and what a board more would buy.

It changes nothing, and needs neither a controller nor boards.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Objective

from convoy_controller.cli.options import DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import print_facts, print_json, print_table, size

if TYPE_CHECKING:
    from convoy_schema.topology import Topology

    from convoy_controller.database.engine import Database
    from convoy_controller.planning.costing import BoardModel
    from convoy_controller.planning.solution import Solution
    from convoy_controller.planning.solver import OneMore

#: A row of `--boards`: what they are called, what the planner takes them for, and how many there are.
Boards = list[tuple[str, "BoardModel", int]]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(plan)


def plan(
    model: Annotated[str, typer.Argument(help="Name of a model, as `convoy models` lists it.")],
    boards: Annotated[
        str | None,
        typer.Option(
            "--boards",
            metavar="N|FILE",
            help="So many boards of --profile, or a TOML file that lists boards; those online now unless given.",
        ),
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version; the newest unless given.")] = None,
    method: Annotated[Method, typer.Option("--method", help="How it is brought onto the boards.")] = Method.LIBRARY,
    objective: Annotated[
        Objective, typer.Option("--objective", help="What the plan makes best.")
    ] = Objective.THROUGHPUT,
    cut: Annotated[Cut, typer.Option("--cut", help="Whether several boards may share a stage.")] = Cut.PIPELINE,
    batch: Annotated[int, typer.Option("--batch", min=1, max=4096, help="Most samples in one frame.")] = 32,
    profile: Annotated[str, typer.Option("--profile", help="What N boards are.")] = "pynq-z2",
    spare: Annotated[int, typer.Option("--spare", min=0, help="Boards to keep out of the plan.")] = 0,
    exactly: Annotated[
        bool, typer.Option("--exactly", help="Use every board that can have a layer, as `convoy deploy --boards` does.")
    ] = False,
    processor: Annotated[
        bool,
        typer.Option(
            "--processor",
            help="Let layers run on the processors of --profile or a file; boards online say it themselves.",
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the pipeline's time line.")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Say how a model would be cut over boards: stages, bottleneck, proven bound, and what one more board would buy.

    JSON keys: model, version, method, objective, cut, batch_rows, boards_there, boards, period_s, samples_per_s,
    latency_s, bound_s, gap, exact, search, bottleneck, ready_s, stages (first, last, layers, boards, replicas,
    seconds, receive_s, send_s, memory_bytes, ready_s, processor), one_more (kind, value_s, gain), notes. Exit codes:
    0, 1 no plan (board, need and have are named), 2 not a number or file of boards, or nowhere to draw, 3 no such model
    or profile, or no board online, 4 no database.
    """
    from convoy_schema import codec
    from convoy_schema.topology import Topology

    from convoy_controller.database.publications import find_model
    from convoy_controller.planning.costing import instance_of
    from convoy_controller.planning.instance import Wish
    from convoy_controller.planning.solver import notes, one_more, solve

    with opened(home, database) as fleet:
        saved = find_model(fleet, model, version)
        there = _boards(fleet, boards, profile, method, processor)
    topology = codec.unpack(Topology, saved.announcement.topology)
    whole = method is Method.STREAM  # a shell with the whole network: boards can only be replicas
    instance = instance_of(topology, there, batch, cuts=not whole)
    wish = Wish(objective, whole or cut is Cut.REPLICATED, spare=spare, exactly=exactly)
    solution = solve(instance, wish)
    more, said = one_more(instance, wish, solution), notes(instance, wish, solution)
    if plot is not None:
        _draw(solution, f"{saved.name} {saved.version}, {method.value}, {cut.value}", plot)
    if as_json:
        facts = {"model": saved.name, "version": saved.version, "method": method.value, "cut": cut.value}
        print_json(facts | {"boards_there": instance.boards} | plain_plan(solution, topology, more, said))
    else:
        _show(solution, topology, more, said, instance.boards)


def _boards(fleet: Database, wanted: str | None, profile: str, method: Method, processor: bool) -> Boards:
    from convoy_controller.errors import NotFoundError
    from convoy_controller.planning import profiles

    if wanted is None:
        return _online(fleet, method)
    if not wanted.isdecimal():
        if not Path(wanted).is_file():
            raise typer.BadParameter(f"{wanted!r} is neither a number nor a file of boards", param_hint="--boards")
        listed = profiles.boards_of(Path(wanted))
        return [(each.name, each.model(method, processor=processor), count) for each, count in listed]
    if not 1 <= int(wanted) <= profiles.MOST_BOARDS:
        raise typer.BadParameter(f"{wanted} is not from 1 to {profiles.MOST_BOARDS}", param_hint="--boards")
    known = profiles.shipped()
    if profile not in known:
        raise NotFoundError(f"there is no profile {profile!r}; there is {', '.join(sorted(known))}", profile=profile)
    return [(profile, known[profile].model(method, processor=processor), int(wanted))]


def _online(fleet: Database, method: Method) -> Boards:
    """Boards that are online and can load what the method needs, as many of each kind as there are."""
    from convoy_controller.database import queries
    from convoy_controller.errors import NotFoundError
    from convoy_controller.planner import model_of

    found: dict[BoardModel, list[str]] = {}
    for line in queries.fleet(fleet):
        capability = queries.board(fleet, line.board).capability if line.presence.value == "online" else None
        if capability is not None and (not capability.shells or method.shell in capability.shells):
            found.setdefault(model_of(capability, method), []).append(line.board)
    if not found:
        raise NotFoundError(
            f"no board is online that can load shell {method.shell}: say which boards to plan for, as --boards 3 or "
            "--boards FILE.toml"
        )
    return [(names[0] if len(names) == 1 else f"{names[0]}...", model, len(names)) for model, names in found.items()]


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


def _show(solution: Solution, topology: Topology, more: tuple[OneMore, ...], said: tuple[str, ...], there: int) -> None:
    names = [layer.name for layer in topology.layers]
    print_table(
        ("STAGE", "BOARDS", "LAYERS", "ON THE PROCESSOR", "COMPUTE", "RECEIVE", "SEND", "MEMORY", "READY IN"),
        [
            (
                str(number),
                f"{stage.replicas} x {stage.kind}",
                f"{names[stage.first]} to {names[stage.last - 1]} ({stage.last - stage.first})",
                ", ".join(stage.processor) or "-",
                _time(stage.seconds),
                _time(stage.receive_s),
                _time(stage.send_s),
                size(stage.memory_bytes),
                _time(stage.ready_s),
            )
            for number, stage in enumerate(solution.stages)
        ],
    )
    proof = "no plan is better" if solution.gap <= 1e-9 else f"no plan is more than {solution.gap:.2%} better"
    print_facts(
        [
            ("boards", f"{solution.boards} of {there}"),
            ("throughput", f"{1 / solution.period_s:,.1f} samples/s, one every {_time(solution.period_s)}"),
            ("latency", f"{_time(solution.latency_s)} a sample, in frames of {solution.batch_rows}"),
            ("bottleneck", solution.bottleneck),
            ("bound", f"{_time(solution.bound_s)} for {solution.objective.value}: {proof} ({solution.method})"),
            *(("one more", _worth(each)) for each in more),
            *(("note", note) for note in said),
        ]
    )


def _worth(more: OneMore) -> str:
    if more.gain < 1e-6:
        return f"{more.kind} would buy nothing"
    return f"{more.kind} would bring it to {_time(more.value_s)}, {more.gain:.1%} less"


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.4g} ms"


def _draw(solution: Solution, title: str, path: Path) -> None:
    from convoy_controller.errors import ProfileError
    from convoy_controller.planning.timeline import draw

    try:
        draw(solution, title, path)
    except (OSError, ValueError) as error:
        raise ProfileError(f"the time line cannot be written to {path}: {error}") from error
