"""ONNX files out of PyTorch modules, without the exporter's notes on where they were made.

The scripts that train and export call it.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import nn


def exported(
    network: nn.Module, shape: tuple[int, ...], source: str, result: str, name: str, optimise: bool = True
) -> onnx.ModelProto:
    """`network` as an ONNX model called `name`, that takes rows of `shape` and has a free batch size.

    Unless told to `optimise` the exporter leaves batch normalisation as it is.
    """
    network.eval()
    program = torch.onnx.export(
        network,
        (torch.zeros(2, *shape),),
        input_names=[source],
        output_names=[result],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        dynamo=True,
        optimize=optimise,
        verbose=False,
    )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    clean(model, name)
    onnx.checker.check_model(model, full_check=True)
    return model


def export(network: nn.Module, path: Path, shape: tuple[int, ...], source: str, result: str) -> None:
    """Write `network` to `path`."""
    onnx.save(exported(network, shape, source, result, path.stem), path)


def clean(model: onnx.ModelProto, name: str) -> None:
    """Drop stack traces, doc strings and everything else that is not the network."""
    model.doc_string, model.domain = "", ""
    model.graph.name, model.graph.doc_string = name, ""
    del model.metadata_props[:]
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
