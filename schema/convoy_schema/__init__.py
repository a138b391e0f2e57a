"""The contract between controller, gateways and boards: topics, messages, artifacts, topology and exact arithmetic."""
