"""Float ONNX to int8 ONNX by onnxruntime's own static quantiser: QDQ form, weights symmetric per output channel.

What a quantised graph means for us is for `convoy_controller.importing.graph`.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.registry import QDQRegistry

from convoy_controller.errors import ImportRefusedError
from convoy_controller.importing.ties import Ranges, wider_ranges

#: Rows that the float network evaluates at once while its ranges are measured, and elements of its largest tensor.
CALIBRATION_BATCH, CALIBRATION_ELEMENTS = 32, 16 * 1024 * 1024
#: Times a model is quantised, at most: a wider range of one layer can make ties in the next.
MAX_PASSES = 4


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether the model comes quantised already, in QDQ form."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def quantise_model(model: onnx.ModelProto, calibration: NDArray[np.float32], largest: int) -> onnx.ModelProto:
    """The int8 form of float `model`, with the ranges that `calibration` (rows, *input shape) shows.

    The batch is free, and one sample's largest tensor has `largest` elements. Raises `ImportRefusedError` with
    onnxruntime's reason.
    """
    source = model.graph.input[0]
    rows = max(1, min(CALIBRATION_BATCH, CALIBRATION_ELEMENTS // largest))
    with tempfile.TemporaryDirectory(prefix="convoy-import-") as folder:
        plain, quantised = (Path(folder) / f"{name}.onnx" for name in ("plain", "quantised"))
        onnx.save(model, plain)
        ranges: Ranges = {}
        try:
            for _ in range(MAX_PASSES):
                _run(plain, quantised, _Rows(source.name, calibration, rows), ranges)
                made = onnx.load(str(quantised))
                wider = wider_ranges(made)
                if not set(wider) - set(ranges):
                    break
                ranges |= {name: wider[name] for name in wider if name not in ranges}
        except Exception as error:  # onnxruntime raises whatever its C++ side and its scripts happen to raise
            reason = f"onnxruntime cannot quantise the model: {error}"
            raise ImportRefusedError(f"{reason}; check that it runs in onnxruntime", reasons=[reason]) from error
        return made


def _run(plain: Path, quantised: Path, samples: CalibrationDataReader, ranges: Ranges) -> None:
    """Write the int8 form of the file `plain`; `ranges` stand for those that `samples` would show."""
    with _own_scales(), _quiet():
        quantize_static(
            str(plain),
            str(quantised),
            samples,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                # Else a pool or reshape of the input itself would be left in float.
                "ForceQuantizeNoInputCheck": True,
                "TensorQuantOverrides": ranges,
            },
        )


@contextmanager
def _own_scales() -> Iterator[None]:
    """Average pools get output scales of their own, as global ones have anyway.

    onnxruntime would give them their input's, so that sums are often exactly half a step, where its own float rounding
    decides one way or the other; and the range of averages is smaller than that of what is averaged.
    """
    shared = QDQRegistry.pop("AveragePool", None)
    try:
        yield
    finally:
        if shared is not None:
            QDQRegistry["AveragePool"] = shared


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's own log off the terminal: whatever is wrong comes as an exception too."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    onnxruntime.set_default_logger_severity(4)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # ranges that are no numbers are refused by the reader
            yield
    finally:
        onnxruntime.set_default_logger_severity(2)
        logger.setLevel(level)


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Calibration samples in batches of the size that the model takes."""

    def __init__(self, name: str, samples: NDArray[np.float32], rows: int) -> None:
        self._batches = self._cut(name, samples, rows)

    @staticmethod
    def _cut(name: str, samples: NDArray[np.float32], rows: int) -> Iterator[dict[str, NDArray[np.float32]]]:
        fixed = len(samples) - len(samples) % rows if len(samples) >= rows else 0
        for start in range(0, fixed, rows):
            yield {name: samples[start : start + rows]}
        if fixed < len(samples):  # the last rows, filled up with the first ones: ranges do not mind a repeat
            yield {name: np.resize(samples[fixed:], (rows, *samples.shape[1:]))}

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch by input name; None after the last."""
        return next(self._batches, None)
