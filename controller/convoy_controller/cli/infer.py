"""`convoy infer`: image files to classes, over the fleet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_json, print_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Files sent in one request.
AT_ONCE = 64


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(infer)


def infer(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Images, resized to what the model takes.")],
    url: Annotated[
        list[str] | None, typer.Option("--url", envvar="CONVOY_URL", help="A gateway; repeat it for several.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Needed when several are served.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version; what is served unless given.")] = None,
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="Classes shown for each image.")] = 3,
    priority: Annotated[
        int, typer.Option("--priority", min=0, help="1 is answered first, 8 last; 0 is the gateway's default.")
    ] = 0,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="For each request.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Classify images and print the class and the probabilities.

    JSON: a list of objects of file, class, probability, probabilities (by class), generation; a model that ends in
    ArgMax has no probabilities (null, and none).
    Exit codes: 0, 1 an image or the request was refused, 3 no such model, 4 no gateway.
    """
    import convoy
    import numpy as np

    from convoy_controller.datasets import read_image

    answers = []
    with convoy.connect(url or ["http://127.0.0.1:8080"], timeout_s=timeout) as client:
        info = client.model(model, version)
        for start in range(0, len(files), AT_ONCE):
            some = files[start : start + AT_ONCE]
            result = client.infer(
                np.stack([read_image(path, info.shape) for path in some]), model, version, priority=priority
            )
            known = [None] * len(some) if info.ending == "argmax" else result.probabilities
            for path, label, chances in zip(some, result.labels, known, strict=True):
                answers.append((path, label, chances, result.generation))
    names = info.classes
    if as_json:
        print_json(
            [
                {
                    "file": str(path),
                    "class": label,
                    "probability": None if chances is None else float(chances.max()),
                    "probabilities": {
                        _name(names, n): float(p) for n, p in enumerate(() if chances is None else chances)
                    },
                    "generation": generation,
                }
                for path, label, chances, generation in answers
            ]
        )
        return
    rows = [(str(path), label, _likeliest(chances, names, top)) for path, label, chances, _ in answers]
    print_table(("FILE", "CLASS", "PROBABILITIES"), rows)


def _likeliest(chances: NDArray[np.float32] | None, names: tuple[str, ...], top: int) -> str:
    if chances is None:
        return "-"
    order = (-chances).argsort()[:top].tolist()
    return ", ".join(f"{_name(names, n)}: {chances[n]:.1%}" for n in order)


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else str(number)
