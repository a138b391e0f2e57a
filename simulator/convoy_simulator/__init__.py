"""The fleet in virtual time: boards, controllers and gateways as in production, from one seed.

It imports both sides; nothing imports it. Its command is `convoy simulate`.
"""
