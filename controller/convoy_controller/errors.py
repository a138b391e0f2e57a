"""What can go wrong on the controller's side: one tree, below `ConvoyError`.

The command line prints the sentence; `code` is stable and machine-readable.
"""

from convoy_schema.errors import ConvoyError


class ControllerError(ConvoyError):
    """Root of the controller's errors."""

    code = "controller"


# Database, catalogue and command line


class NotFoundError(ControllerError):
    """The board, deployment, model or artifact that was named is not known."""

    code = "not-found"


class DatabaseError(ControllerError):
    """The database refused or broke off an operation; nothing of it was kept."""

    code = "database"


class DatabaseBusyError(DatabaseError):
    """Another process held the database's write lock for longer than we wait."""

    code = "database-busy"
    retryable = True


class DatabaseUnreachableError(DatabaseError):
    """The database cannot be opened at all: wrong path, no permission, server down, driver missing."""

    code = "database-unreachable"
    retryable = True


class DatabaseFullError(DatabaseError):
    """The disk under the database is full: what is read still is, and what is to be written waits for room."""

    code = "database-full"
    retryable = True


class DatabaseReplacedError(DatabaseError):
    """The database's file was deleted or exchanged while it was open; the process ends, and begins anew."""

    code = "database-replaced"


class DeposedError(DatabaseError):
    """Another controller opened a newer reign in this database; what an older one was about to write is void."""

    code = "deposed"
    retryable = True  # under a reign of its own, once it has one


class DatabaseVersionError(DatabaseError):
    """The database was made by a newer version of this software, or its tables are not ours."""

    code = "database-version"


class CatalogueError(ControllerError):
    """A model cannot be published as asked: version taken, images missing, or values that do not fit together."""

    code = "catalogue"


class InUseError(ControllerError):
    """What is to be removed is still needed; the message says by whom."""

    code = "in-use"


class StaleError(ControllerError):
    """What was to be changed is not what its owner takes it for."""

    code = "stale"


class UnsaidError(ControllerError):
    """Something is there already, and it was not said that it is to be replaced."""

    code = "precondition-required"


class NameUsedError(ControllerError):
    """A name that is given once only was given before."""

    code = "name-used"


class ExposedError(ControllerError):
    """The API would be reached by others although nobody needs a token yet."""

    code = "exposed"


class HandoffError(ControllerError):
    """A file is no hardware handoff, or is one of a part that is not known."""

    code = "handoff"


class RegionError(ControllerError):
    """The columns of a partition are missing, or are not of the form they should be."""

    code = "region"


class BlobError(ControllerError):
    """The blob store cannot write or read: disk full, no permission."""

    code = "blob-store"


class FloorTooLowError(ControllerError):
    """A floor is only ever raised, and a lower one was asked for."""

    code = "floor-too-low"


class KeyFileError(ControllerError):
    """The fleet's keys cannot be created or read."""

    code = "signing-key"


# Import of models and data sets


class DatasetError(ControllerError):
    """A data set cannot be read: a file is missing, damaged or of another form, or its package is not installed."""

    code = "dataset"


class ImportRefusedError(ControllerError):
    """A model cannot be taken as it is; the message lists every reason, `data["reasons"]` holds them one by one."""

    code = "import-refused"


class CompositionError(ControllerError):
    """A network cannot be composed: layers, keys or parameters do not fit; `data["reasons"]` holds all of it."""

    code = "composition"


# Gateway


class GatewayError(ControllerError):
    """Root of what a gateway answers to its callers."""

    code = "gateway"


class InvalidInputError(GatewayError):
    """A request's tensor, shape, type or parameters are not what the model takes."""

    code = "invalid-input"


class BodyTooLargeError(GatewayError):
    """A request's body is larger than the gateway takes."""

    code = "body-too-large"


class UnknownModelError(GatewayError):
    """No deployment serves the model or version that was asked for."""

    code = "unknown-model"


class NotServingError(GatewayError):
    """The gateway cannot answer now: not connected, not told what to feed, or the deployment was withdrawn."""

    code = "not-serving"
    retryable = True


class OverloadError(GatewayError):
    """The accept queue is full; `data["retry_after_s"]` says when to come back."""

    code = "overload"
    retryable = True


class DeadlineError(GatewayError):
    """No answer came within the request's budget."""

    code = "deadline"
    retryable = True


class ModelChangedError(GatewayError):
    """The deployment serves another model than the one the request was prepared for: prepare it anew."""

    code = "model-changed"
    retryable = True


class NameTakenError(GatewayError):
    """Another gateway came online under this one's name."""

    code = "name-taken"


# Processes and the broker


class ProcessError(ControllerError):
    """A child process could not be started, did not become ready, or is not known."""

    code = "process"


class BrokerError(ControllerError):
    """No broker: not installed, not starting, or not answering as an MQTT broker does."""

    code = "broker"


# Certificates


class AuthorityError(ControllerError):
    """The CA is missing or damaged, or does not sign what it was asked to."""

    code = "authority"


class EnrollmentError(ControllerError):
    """A board is not given a certificate; the message says why, `data["status"]` is the answer's HTTP status."""

    code = "enrollment"


# The API, as its clients meet it


class ApiAnswerError(ControllerError):
    """The API refused a request, or its answer cannot be read; `data["answered"]` is the server's own code."""

    code = "api"


class ApiUsageError(ApiAnswerError):
    """A name or value that was typed is not one that the API takes."""

    code = "api-usage"


class ApiRefusedError(ApiAnswerError):
    """No token, one that does not count, or a role that does not allow it."""

    code = "api-refused"


class ApiStaleError(ApiAnswerError):
    """What was to be changed has changed meanwhile; nothing was done."""

    code = "api-stale"
    retryable = True


class ApiUnavailableError(ApiAnswerError):
    """The API is there, and cannot use its database now."""

    code = "api-unavailable"
    retryable = True


class ApiUnreachableError(ControllerError):
    """Nobody answers at the API's address."""

    code = "api-unreachable"
    retryable = True


class ConfigurationError(ControllerError):
    """The command line's own configuration cannot be read or written, or names no fleet of that name."""

    code = "configuration"


# Planning


class PlanError(ControllerError):
    """No plan exists; `data` holds need and have."""

    code = "no-plan"


class ProfileError(ControllerError):
    """A file of boards is not what `convoy plan` takes; the message names entry and key."""

    code = "profile"


# Demonstration


class DemoError(ControllerError):
    """The demonstration's fleet did not come to serve, or one of its processes died unasked."""

    code = "demo"
