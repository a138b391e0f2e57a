"""What can go wrong for a client: one tree below `ConvoyError`, sorted by what the caller can do about it."""

from convoy_schema.errors import ConvoyError


class ClientError(ConvoyError):
    """Root of the client's errors."""

    code = "client"


class InvalidInputError(ClientError):
    """The array, a name or an address is not what it must be: change it; a retry does not help."""

    code = "invalid-input"


class UnknownModelError(ClientError):
    """No gateway serves the model or version that was asked for; the message names those there are."""

    code = "unknown-model"


class ConnectionFailedError(ClientError):
    """No gateway could be reached within the time given, or the connection broke each time."""

    code = "connection-failed"
    retryable = True


class OverloadedError(ClientError):
    """Every gateway had more work than it takes, for all the time given."""

    code = "overloaded"
    retryable = True


class UnavailableError(ClientError):
    """Gateways answered, but none could serve: no deployment yet, or no broker."""

    code = "unavailable"
    retryable = True


class DeadlineExceededError(ClientError):
    """A gateway took the request, but no answer came within the time given."""

    code = "deadline-exceeded"
    retryable = True


class ServerFailedError(ClientError):
    """A gateway answered with something that is not the protocol, or with an internal error."""

    code = "server-failed"
