"""Decides who runs what and keeps it so: registry, catalogue, planner, reconciler, gateway, database, command line."""

import os

# onnxruntime 1.32 and newer report their use to their maker from the moment they are imported, unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
