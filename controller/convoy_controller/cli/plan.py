"""`convoy plan`: how a model would be placed, what decides its speed, what is proved, and what a board more would buy.

It changes nothing, and needs neither a controller nor boards. Which boards it plans for is `plan_boards`' to say.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Objective

from convoy_controller.cli.options import REPLICAS_HELP, DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import print_facts, print_json, print_table, size

if TYPE_CHECKING:
    from convoy_schema.topology import Topology

    from convoy_controller.cli.plan_boards import Boards
    from convoy_controller.planning.solution import Solution
    from convoy_controller.planning.solver import OneMore


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(plan)


def plan(
    model: Annotated[str, typer.Argument(help="Name of a model, as `convoy models` lists it.")],
    boards: Annotated[
        str | None,
        typer.Option(
            "--boards",
            metavar="N|FILE|fleet",
            help="So many boards of --profile, a TOML file that lists boards, or `fleet`: those online now, with "
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
    save: Annotated[
        Path | None,
        typer.Option("--save-profiles", metavar="FILE.toml", help="Write the boards as a file that --boards reads."),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Say how a model would be cut over boards: stages, bottleneck, proven bound, and what one more board would buy.

    JSON keys: model, version, method, objective, cut, batch_rows, boards_there, boards, period_s, samples_per_s,
    latency_s, bound_s, gap, exact, search, bottleneck, ready_s, stages (first, last, layers, boards, replicas,
    seconds, receive_s, send_s, memory_bytes, ready_s, processor, figures), one_more (kind, value_s, gain), notes,
    figures (by boards: source, factor, rows), hop (source, seconds). Exit codes: 0, 1 no plan (board, need and have
    are named), 2 not a number or file of boards, or nowhere to draw or write, 3 no such model or profile, or no board
    online, 4 no database.
    """
    from convoy_schema import codec
    from convoy_schema.topology import Topology

    from convoy_controller.cli.plan_boards import boards_for
    from convoy_controller.database.publications import find_model
    from convoy_controller.planner import may_share
    from convoy_controller.planning.costing import HOP_S, instance_of
    from convoy_controller.planning.instance import Wish
    from convoy_controller.planning.solver import notes, one_more, solve

    with opened(home, database) as fleet:
        saved = find_model(fleet, model, version)
        there = boards_for(fleet, boards, profile, method, processor)
    topology = codec.unpack(Topology, saved.announcement.topology)
    whole = method is Method.STREAM  # a shell with the whole network: boards can only be replicas
    hop_s = HOP_S if there.hop_s is None else there.hop_s
    instance = instance_of(topology, there.models(method), batch, cuts=not whole, hop_s=hop_s)
    wish = Wish(objective, whole or may_share(cut, replicas), replicas, spare=spare, exactly=exactly)
    solution = solve(instance, wish)
    more, said = one_more(instance, wish, solution), notes(instance, wish, solution)
    if plot is not None:
        _draw(solution, f"{saved.name} {saved.version}, {method.value}, {cut.value}", plot)
    if save is not None:
        _save(there, save)
    if as_json:
        facts = {"model": saved.name, "version": saved.version, "method": method.value, "cut": cut.value}
        plain = plain_plan(solution, topology, more, said)
        for stage in plain["stages"]:
            stage["figures"] = there.figures(stage["boards"])
        print_json(facts | {"boards_there": instance.boards} | plain | there.plain())
    else:
        _show(solution, topology, more, said, there)


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


def _show(
    solution: Solution, topology: Topology, more: tuple[OneMore, ...], said: tuple[str, ...], there: Boards
) -> None:
    names = [layer.name for layer in topology.layers]
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
                f"{stage.replicas} x {stage.kind}",
                f"{names[stage.first]} to {names[stage.last - 1]} ({stage.last - stage.first})",
                ", ".join(stage.processor) or "-",
                _time(stage.seconds),
                _time(stage.receive_s),
                _time(stage.send_s),
                size(stage.memory_bytes),
                _time(stage.ready_s),
                there.figures(stage.kind),
            )
            for number, stage in enumerate(solution.stages)
        ],
    )
    proof = "no plan is better" if solution.gap <= 1e-9 else f"no plan is more than {solution.gap:.2%} better"
    print_facts(
        [
            ("boards", f"{solution.boards} of {sum(kind.count for kind in there.kinds)}"),
            ("throughput", f"{1 / solution.period_s:,.1f} samples/s, one every {_time(solution.period_s)}"),
            ("latency", f"{_time(solution.latency_s)} a sample, in frames of {solution.batch_rows}"),
            ("bottleneck", solution.bottleneck),
            ("bound", f"{_time(solution.bound_s)} for {solution.objective.value}: {proof} ({solution.method})"),
            *(("one more", _worth(each)) for each in more),
            *(("note", note) for note in said),
            *there.said(),
        ]
    )


def _worth(more: OneMore) -> str:
    if more.gain < 1e-6:
        return f"{more.kind} would buy nothing"
    return f"{more.kind} would bring it to {_time(more.value_s)}, {more.gain:.1%} less"


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
