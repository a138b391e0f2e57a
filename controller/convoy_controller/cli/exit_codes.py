"""What the command line's exit codes mean, and which one an error deserves."""

from __future__ import annotations

import enum

from convoy_schema.errors import ConvoyError, FloorplanError, LinkError, TopicError

from convoy_controller.errors import (
    BrokerError,
    DatabaseUnreachableError,
    HandoffError,
    NotFoundError,
    ProfileError,
    RegionError,
)


class ExitCode(enum.IntEnum):
    """0 done; 1 it failed, the sentence says why; 2 wrong usage; 3 what was named is not there; 4 cannot reach."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4


#: Of the client's errors, by their code: importing their classes would make every command slow to start.
_BY_CODE = {"unknown-model": ExitCode.NOT_FOUND, "connection-failed": ExitCode.UNREACHABLE}


def exit_code(error: ConvoyError) -> ExitCode:
    """The code for an error that ended a command."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    if isinstance(error, NotFoundError):
        return ExitCode.NOT_FOUND
    # A name that cannot be one was typed, or a file was given that is not what its option takes.
    if isinstance(error, (TopicError, FloorplanError, HandoffError, RegionError, ProfileError)):
        return ExitCode.USAGE
    if isinstance(error, (LinkError, BrokerError, DatabaseUnreachableError)):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED
