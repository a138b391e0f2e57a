"""Where everything of a fleet lives on this machine: database, blobs, keys.

Paths only; each part creates what it needs below them. Called by the command line and by every process it starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Environment variables that stand in for `--home` and `--database`.
HOME_VARIABLE = "CONVOY_HOME"
DATABASE_VARIABLE = "CONVOY_DATABASE"


@dataclass(frozen=True)
class Home:
    """The home folder and the database's URL, which may well point elsewhere."""

    root: Path
    database_url: str

    @staticmethod
    def locate(
        home: Path | None = None, database: str | None = None, environment: Mapping[str, str] | None = None
    ) -> Home:
        """Options win over the environment, the environment over `~/.local/share/convoy` and `HOME/convoy.db`."""
        variables = os.environ if environment is None else environment
        root = home or Path(variables.get(HOME_VARIABLE) or "~/.local/share/convoy")
        root = root.expanduser().absolute()
        url = database or variables.get(DATABASE_VARIABLE) or f"sqlite:///{root / 'convoy.db'}"
        return Home(root, url)

    @property
    def blobs(self) -> Path:
        """Folder of the blob store."""
        return self.root / "blobs"

    @property
    def bitstreams(self) -> Path:
        """Folder of this fleet's own images, beside those that come with Convoy."""
        return self.root / "bitstreams"

    @property
    def keys(self) -> Path:
        """Folder of the keys that sign, and of the one that boards trust."""
        return self.root / "keys"

    @property
    def tls(self) -> Path:
        """Folder of the CA, of certificates, and of what the broker is given."""
        return self.root / "tls"

    @property
    def trusted_key(self) -> Path:
        """The root's public half, for boards."""
        return self.keys / "trusted.pem"
