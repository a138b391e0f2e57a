"""How long a test waits for what must come: nobody asks how busy the machine is."""

from __future__ import annotations

#: Seconds within which a process, a connection or a whole fleet must come to what it should, on a busy machine.
PATIENCE_S = 45.0
