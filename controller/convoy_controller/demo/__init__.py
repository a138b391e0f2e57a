"""The demonstration: a whole fleet on one machine, handwritten digits through it, and a ledger of what came back.

- `samples`: which images. `ledger`: what was sent and what came back. `load`: sends them. `observer`: what the fleet
  says of itself over MQTT. `screen`: what people see. `show`: the whole, called by `convoy demo`.
"""
