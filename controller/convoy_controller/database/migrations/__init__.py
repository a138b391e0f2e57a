"""How the tables came to be, step by step; `open_database` runs what is missing.

To add a step: change `models.py`, take a database at the old head, then run
`python -m convoy_controller.database.migrations REVISION "what changes" URL`; read what it wrote; move `engine.HEAD`.
"""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config


def configuration() -> Config:
    """Alembic's configuration; needs no file, since the scripts lie in this folder."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
