"""MLServer's side of `convoy bench serve`: a runtime round ONNX Runtime, in the peer's environment, not in Convoy's.

It takes pixels and scales them, as a gateway does, so that both servers get the same bytes. The extra parameters are in
`model-settings.json`; `peer` sets them for each way that is tried.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):  # type: ignore[misc]  # the package is in another environment
    """One quantised network; `parameters.extra` holds its file, the pixels' scale and offset, and the threads."""

    async def load(self) -> bool:
        """Open the file; called in each worker."""
        extra = self.settings.parameters.extra
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = extra["intra_op_threads"]
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self._scale = np.float32(extra["scale"])
        self._offset = np.float32(extra["offset"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Pixels (n, 1, 28, 28) to real outputs (n, classes)."""
        pixels = NumpyCodec.decode_input(payload.inputs[0])
        real = pixels.astype(np.float32) * self._scale + self._offset
        (answer,) = self._session.run([self._output], {self._input: real})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output(self._output, answer)])
