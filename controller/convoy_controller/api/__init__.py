"""The REST API under `/api/v1`: what the fleet is and was, what its owners want of it, and who may ask.

A FastAPI application over a database and a home; it holds nothing that a second one beside it would have to know, so
that several may run. Reads are the named queries, writes are rows that the running controller finds.

- `app`: `create_app`. `guard`: who calls, what that role may, how large and how often. `roles`: what each route needs.
- `problems`: the one form of every error. `paging`: the one form of every list. `shapes`: the bodies.
- `process`: `convoy api`. The rest are the routes, one module for each noun.
"""
