"""A PYNQ-Z2 behind the fabric protocol: full and partial configuration, registers and DMA, each wait with a deadline.

`board` alone imports the `pynq` package; everything else drives a `chip.Chip`, and so runs in tests without one. The
shell's floorplan says where registers are, so no hardware handoff travels with an image. Not yet run on a board.
"""
