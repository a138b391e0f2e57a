"""What the fleet is, was and should be, in SQL: SQLite by default, PostgreSQL by URL.

The only folder that imports SQLAlchemy; rows never leave it, frozen dataclasses do. This file imports nothing, so that
`records` (plain data) costs nothing to import:

- `records`: what goes in and what a restarting controller gets back. `views`: what the queries answer.
- `engine`: `open_database(url)`. `recorder`: the controller's writes. `intents`: the owner's writes.
- `publications`: models and artifacts. `queries`: named reads. `explanations`: why a board is where it is.
- `pages`: parts of long lists. `tokens`, `audit`: who may use the API, and who did what.
- `history`, `availability`: telemetry and presence over time. `rollup`: how samples become minutes and hours.
- `retention`, `upkeep`: what is deleted, and when. `spans`: how long telemetry is kept. `models`,
  `telemetry_tables`: the tables. `migrations`: how they came to be.
"""
