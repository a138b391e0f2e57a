"""The same faults for real: a fleet of processes under load, struck every few seconds, judged by the same ledger.

`python -m convoy_simulator.real` (`make soak-real`) starts it: a real Mosquitto, a controller, two gateways and four
boards, callers by the product's own client, faults drawn from a seed.
"""
