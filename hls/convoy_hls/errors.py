"""What can go wrong with the kernels as ordinary code."""

from convoy_schema.errors import ConvoyError


class HlsError(ConvoyError):
    """The kernels cannot be compiled here; says what is missing or what the compiler said."""

    code = "hls"


class KernelError(ConvoyError):
    """A kernel did not do what its contract says: it refused the layer, or read or wrote another number of words."""

    code = "kernel"
