"""Which named boards take which stages: of boards of a kind, those first that hold a stage's layers already.

Greedy: the pair of stage and board that saves most goes first, and of equals the board that comes first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from convoy_controller.planning.solution import Stage


def name_boards(
    stages: Sequence[Stage],
    layers: Sequence[str],
    sizes: Sequence[int],
    named: Mapping[str, Sequence[str]],
    held: Mapping[str, Collection[str]],
) -> tuple[tuple[str, ...], ...]:
    """Boards of each stage, from those `named` by kind in order of preference.

    `layers` and their `sizes` (bytes of parameters) are the network's; `held` says by board whose parameters it has.
    """
    chosen: list[list[str]] = [[] for _ in stages]
    taken: set[str] = set()
    for saved, number, board in _savings(stages, layers, sizes, named, held):
        if saved and board not in taken and len(chosen[number]) < stages[number].replicas:
            chosen[number].append(board)
            taken.add(board)
    for stage, boards in zip(stages, chosen, strict=True):
        free = (board for board in named[stage.kind] if board not in taken)
        for board in free:
            if len(boards) == stage.replicas:
                break
            boards.append(board)
            taken.add(board)
    order = {board: at for boards in named.values() for at, board in enumerate(boards)}
    return tuple(tuple(sorted(boards, key=order.__getitem__)) for boards in chosen)


def _savings(
    stages: Sequence[Stage],
    layers: Sequence[str],
    sizes: Sequence[int],
    named: Mapping[str, Sequence[str]],
    held: Mapping[str, Collection[str]],
) -> list[tuple[int, int, str]]:
    """(bytes that need not be sent, stage, board), the most first."""
    found = []
    for number, stage in enumerate(stages):
        for at, board in enumerate(named[stage.kind]):
            has = held.get(board, ())
            saved = sum(sizes[layer] for layer in range(stage.first, stage.last) if layers[layer] in has)
            found.append((-saved, at, number, board))
    return [(-saved, number, board) for saved, _, number, board in sorted(found)]
