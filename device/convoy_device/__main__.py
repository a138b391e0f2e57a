"""`python -m convoy_device` is `convoy-device`."""

import sys

from convoy_device.cli import main

sys.exit(main())
