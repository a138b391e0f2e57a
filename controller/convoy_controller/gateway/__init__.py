"""The gateway: where requests enter and results leave.

`session` (with `lane`, `batches`, `probe`, `timing`) is the deterministic core; `service` carries its effects out over
MQTT; `http` and `protocol` speak the Open Inference Protocol; `process` is the whole of it as one process.
"""

from convoy_controller.gateway.process import GatewayConfig, run_gateway

__all__ = ["GatewayConfig", "run_gateway"]
