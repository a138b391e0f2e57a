"""What can go wrong on a board: an error's `code` travels in `AssignmentReport`, with whether time can help."""

from convoy_schema.errors import ConvoyError


class DeviceError(ConvoyError):
    """Root of everything the daemon raises itself."""

    code = "device"


class ConfigError(DeviceError):
    """The configuration file cannot be used; names the file and the key."""

    code = "config"


class EnrollError(DeviceError):
    """A certificate was not to be had; the message is the service's, or says what kept it from answering."""

    code = "enroll"
    retryable = True


class StoreError(DeviceError):
    """The store could not read or write a file."""

    code = "store"
    retryable = True


class StoreFullError(StoreError):
    """The disk or the store's quota is full, and nothing is left that may be evicted."""

    code = "store-full"


class ArtifactDamagedError(StoreError):
    """An artifact on disk is not what its digest says, or is gone; it is fetched again."""

    code = "artifact-damaged"


class VerificationError(DeviceError):
    """What was sent must not be run here; permanent until other things are desired."""

    code = "verification"


class BundleMismatchError(VerificationError):
    """The announced bundle is not the one that the assignment names."""

    code = "bundle-mismatch"
    retryable = True


class AssignmentError(VerificationError):
    """The assignment contradicts its own topology or bundle."""

    code = "assignment"


class PartMismatchError(VerificationError):
    """The bundle holds images, and none of them for this board's part."""

    code = "part-mismatch"


class ShellMismatchError(VerificationError):
    """The shell that the method needs does not fit this board."""

    code = "shell-mismatch"


class ModuleMissingError(VerificationError):
    """The bundle holds no image of a module for this part, shell and partition."""

    code = "module-missing"


class SelfTestError(DeviceError):
    """The stage does not give the golden values to the last bit."""

    code = "self-test"


class FabricError(DeviceError):
    """The programmable logic refused, failed, or read back as something else."""

    code = "fabric"
    retryable = True


class ImageRefusedError(FabricError):
    """An image must not be loaded: another part's, damaged, outside its partition, or it breaks another rule."""

    code = "image-refused"
    retryable = False


class LayerRefusedError(FabricError):
    """A layer exceeds the limits of the kernel that is there: the plan does not fit this board."""

    code = "layer-refused"
    retryable = False


class InstallError(DeviceError):
    """Installing, upgrading or removing the service could not be done; what was there still is."""

    code = "install"
