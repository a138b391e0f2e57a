"""What the command line's exit codes mean, and which one an error deserves."""

from __future__ import annotations

import enum

from convoy_schema.errors import ConvoyError, FloorplanError, LinkError, TopicError

from convoy_controller.errors import (
    ApiRefusedError,
    ApiStaleError,
    ApiUnavailableError,
    ApiUnreachableError,
    ApiUsageError,
    BrokerError,
    ConfigurationError,
    DatabaseUnreachableError,
    HandoffError,
    NotFoundError,
    ProfileError,
    RegionError,
)


class ExitCode(enum.IntEnum):
    """0 done; 1 it failed, the sentence says why; 2 wrong usage; 3 what was named is not there; 4 cannot reach the
    fleet; 5 the token or its role does not allow it; 6 what was to be changed has changed meanwhile.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    REFUSED = 5
    CHANGED = 6


#: For the help and the reference.
MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed, or not so; the sentence says why",
    ExitCode.USAGE: "wrong usage: options, names, files or the configuration cannot be used",
    ExitCode.NOT_FOUND: "what was named is not there",
    ExitCode.UNREACHABLE: "the fleet, its database or a broker cannot be reached",
    ExitCode.REFUSED: "no token, or its role does not allow it",
    ExitCode.CHANGED: "it has changed meanwhile: look again",
}


_USAGE = (FloorplanError, HandoffError, RegionError, ProfileError, ConfigurationError, ApiUsageError)
_UNREACHABLE = (BrokerError, DatabaseUnreachableError, ApiUnreachableError, ApiUnavailableError)
#: Of the client's errors, by their code: importing their classes would make every command slow to start.
_BY_CODE = {"unknown-model": ExitCode.NOT_FOUND, "connection-failed": ExitCode.UNREACHABLE}


def exit_code(error: ConvoyError) -> ExitCode:
    """The code for an error that ended a command."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    if isinstance(error, NotFoundError):
        return ExitCode.NOT_FOUND
    # A name that cannot be one was typed, or a file was given that is not what its option takes.
    if isinstance(error, (TopicError, *_USAGE)):
        return ExitCode.USAGE
    if isinstance(error, (LinkError, *_UNREACHABLE)):
        return ExitCode.UNREACHABLE
    if isinstance(error, ApiRefusedError):
        return ExitCode.REFUSED
    if isinstance(error, ApiStaleError):
        return ExitCode.CHANGED
    return ExitCode.FAILED
