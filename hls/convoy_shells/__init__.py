"""Makes a shell's constraints, top-level Verilog and tables from its floorplan, and runs Vivado and Vitis HLS on them.

Part of the source tree, not of what a board or a controller installs. `make bitstreams` runs `python -m convoy_shells`;
hls/shells/ holds the Tcl that it runs. Not yet run on Vivado.
"""
