"""Networks made layer by layer, in Python or as TOML, and their parameters; what comes out is an ONNX model.

From there on a composed network is imported as any other. `Network` is the way in; the command line is its caller.
"""

from convoy_controller.composing.network import Network

__all__ = ["Network"]
