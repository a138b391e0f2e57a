"""Float ONNX to int8 ONNX by onnxruntime's own static quantiser: QDQ form, weights symmetric per output channel.

What a quantised graph means for us is for `convoy_controller.importing.graph`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from convoy_controller.errors import ImportRefusedError

#: Rows that the float network evaluates at once while its ranges are measured.
CALIBRATION_BATCH = 32


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether the model comes quantised already, in QDQ form."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def quantise_model(model: onnx.ModelProto, calibration: NDArray[np.float32]) -> onnx.ModelProto:
    """The int8 form of float `model`, with the ranges that `calibration` (rows, *input shape) shows.

    Batch normalisation is folded and constants are merged first. Raises `ImportRefusedError` with onnxruntime's reason.
    """
    source = model.graph.input[0]
    batch = source.type.tensor_type.shape.dim[0]
    rows = batch.dim_value if batch.HasField("dim_value") else CALIBRATION_BATCH
    with tempfile.TemporaryDirectory(prefix="convoy-import-") as folder:
        plain, merged, quantised = (Path(folder) / f"{name}.onnx" for name in ("plain", "merged", "quantised"))
        onnx.save(model, plain)
        try:
            quant_pre_process(str(plain), str(merged), skip_symbolic_shape=True)
            quantize_static(
                str(merged),
                str(quantised),
                _Rows(source.name, calibration, rows),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                # Else a pool or reshape of the input itself would be left in float.
                extra_options={"ForceQuantizeNoInputCheck": True},
            )
        except Exception as error:  # onnxruntime raises whatever its C++ side and its scripts happen to raise
            reason = f"onnxruntime cannot quantise the model: {error}"
            raise ImportRefusedError(f"{reason}; check that it runs in onnxruntime", reasons=[reason]) from error
        return onnx.load(str(quantised))


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
