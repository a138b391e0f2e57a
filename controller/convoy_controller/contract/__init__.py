"""The MQTT contract as an AsyncAPI 3.0 document, made from the schema's own classes and annotations.

`schemas` turns dataclasses into JSON Schema, `document` puts channels, operations and schemas together, and as text.
`convoy contract` prints it; `make check` holds `docs/asyncapi.yaml` equal to it.
"""
