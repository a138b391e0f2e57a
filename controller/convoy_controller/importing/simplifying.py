"""A model as its file has it to one that the quantiser and the reader know: every step that needs no quantisation.

Constants are folded, batch normalisation and biases become parts of layers, Identity and Dropout vanish, shapes are
settled, Softmax and ArgMax leave the end for the gateway. What has no layer is refused here, all of it at once.
"""

from __future__ import annotations

import numpy as np
import onnx

from convoy_controller.importing.draft import Draft
from convoy_controller.importing.ending import cut_ending
from convoy_controller.importing.folding import fold_constants
from convoy_controller.importing.merging import merge
from convoy_controller.importing.quantising import is_quantised
from convoy_controller.importing.refusals import refuse, survey
from convoy_controller.importing.shaping import drop_idle, settle_shapes, shape_input

#: Rounds of folding and inferring; each finds what hung on a shape that the one before found.
MAX_ROUNDS = 32


def simplified(model: onnx.ModelProto, name: str) -> Draft:
    """`model` as a draft of known operations; raises `ImportRefusedError` with every reason."""
    draft = Draft.of(model, name)
    drop_idle(draft)
    cut = cut_ending(draft)
    reasons = _fold(draft)
    if not reasons:
        draft.ending, reasons = cut.read(draft.shapes.get(draft.output), draft.notes)
    drop_idle(draft)
    reasons += settle_shapes(draft)
    if not is_quantised(model):
        reasons += merge(draft)
    shape_input(draft)
    draft.prune()
    reasons += [
        f"tensor {held}: holds values that are not finite; train the network again"
        for held, array in draft.constants.items()
        if array.ndim and array.dtype.kind == "f" and not np.isfinite(array).all()
    ]
    named = {reason.split(":")[0] for reason in reasons}
    reasons += [each for each in survey(draft.model(draft.batch)) if each.split(":")[0] not in named]
    reasons = reasons or draft.infer(strict=True)
    if reasons:
        raise refuse(name, list(dict.fromkeys(reasons)))
    return draft


def _fold(draft: Draft) -> list[str]:
    """Fold constants and find shapes until nothing changes."""
    for _ in range(MAX_ROUNDS):
        reasons = draft.infer()
        if reasons:
            return reasons
        before = len(draft.nodes)
        reasons = fold_constants(draft)
        if reasons or len(draft.nodes) == before:
            break
    draft.prune()
    return reasons
