"""LeNet-5 as it comes with Convoy, taken in as a user's model would be: what the demonstration and the benches run."""

from __future__ import annotations

import convoy_models
import numpy as np
from convoy_schema.bundle import InputSpec

from convoy_controller.datasets import digits
from convoy_controller.importer import ImportedModel, import_model


def quantised(name: str = "lenet5") -> tuple[ImportedModel, InputSpec]:
    """The float file quantised with scikit-learn's digits as calibration, and how images become its input."""
    spec = convoy_models.LENET5
    calibration = digits(train=True).images.astype(np.float32) * np.float32(spec.scale)
    imported = import_model(spec.path, calibration, name=name)
    return imported, InputSpec(imported.topology.input, spec.layout, spec.scale, spec.offset)
