"""A register model whose kernels are the layer library's own C++, compiled by g++."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from chip_model import ChipModel
from convoy_hls import Library
from convoy_hls.kernel import core_of
from convoy_schema.topology import Kind


def serve_kernels(model: ChipModel, library: Library) -> None:
    """Let every kernel be the library's."""

    def compute(kind: Kind, arguments: Mapping[str, int], activations: bytes, parameters: bytes) -> bytes:
        given = {name: value for name, value in arguments.items() if not name.endswith("_words")}
        taken, loaded = (np.frombuffer(content, np.uint64) for content in (activations, parameters))
        return library.start(core_of(kind), given, taken, loaded, arguments["out_words"]).words.tobytes()

    model.compute = compute
