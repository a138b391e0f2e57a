"""The layer library in C++ for HLS, and the means to run the same source as ordinary code.

`include/` and `kernels/` are what Vitis takes; `build` compiles them with g++, `kernel` runs one as a fabric would. The
tests and the `csim` fabric call it; nothing here is needed on a board.
"""

from convoy_hls.build import Library, library, unavailable
from convoy_hls.errors import HlsError, KernelError
from convoy_hls.kernel import Chain, Kernel

__all__ = ["Chain", "HlsError", "Kernel", "KernelError", "Library", "library", "unavailable"]
