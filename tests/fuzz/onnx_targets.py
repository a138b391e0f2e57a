"""Targets of ONNX files: reading and simplifying one, which is quick, and the whole import, which is not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import damaged_models
import numpy as np
import onnx
from convoy_controller.errors import ImportRefusedError
from convoy_controller.importer import import_model, input_shape
from file_targets import on_disk
from mutation import mutate_bytes
from target import target

_SAMPLES = np.random.default_rng(1).normal(0, 1, (4, *damaged_models.SHAPE)).astype(np.float32)
#: Seconds for one file: shape inference, quantising, and two runtimes.
_MOST_S = 20.0


def _files() -> Iterator[bytes]:
    yield damaged_models.sound().SerializeToString()
    for _, _, content in damaged_models.files():
        yield content


def _sound() -> Iterator[bytes]:
    yield damaged_models.sound().SerializeToString()


_damages = [damage for _, _, damage in damaged_models.damages()]


def mutate_model(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Blind changes, or one or two of the known damages on top of whatever the model is already."""
    if chance.random() < 0.6:
        return mutate_bytes(chance, data, other)
    try:
        model = onnx.ModelProto()
        model.ParseFromString(data)
        for _ in range(chance.choice((1, 1, 2))):
            chance.choice(_damages)(model)
        return bytes(model.SerializeToString())
    except Exception:  # the damage needs something that is no longer there
        return mutate_bytes(chance, data, other)


@target("onnx-file", ImportRefusedError, seeds=_files, mutate=mutate_model, most_cpu_s=_MOST_S, most_said=200_000)
def onnx_file(data: bytes) -> object:
    """Structure, and what folds away."""
    return input_shape(on_disk("model.onnx", data), "model")


@target(
    "onnx-import", ImportRefusedError, seeds=_sound, mutate=mutate_model, most_cpu_s=_MOST_S, most_said=200_000, share=2
)
def onnx_import(data: bytes) -> object:
    """The whole way to a topology that boards can run."""
    imported = import_model(on_disk("model.onnx", data), _SAMPLES, name="model")
    imported.topology.check()
    return imported
