"""The Verilog of a shell with partitions: its top, where the block design and the partitions stand side by side, and
for each partition the ports that every module of it has, filled by a kernel.

`build` writes what these return. Signal names follow Vivado's: an interface port of a block design gives lower-case
ports, an HLS kernel upper-case ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from convoy_schema.floorplan import Floorplan
from convoy_schema.registers import ARGUMENTS, offset

#: Bits of a kernel's AXI-Lite address: up to the last argument.
ADDRESS_BITS = offset(ARGUMENTS[-1]).bit_length()


@dataclass(frozen=True)
class Port:
    """A port of a module: `out` seen from a partition."""

    name: str
    width: int
    out: bool

    def declared(self) -> str:
        """Its declaration in a partition's module."""
        return f"{'output' if self.out else 'input'} wire {_range(self.width)}{self.name}"


def _axi_lite() -> list[Port]:
    ports = [Port(f"a{way}{signal}", width, False) for way in "wr" for signal, width in (("addr", 32), ("valid", 1))]
    ports += [Port("awready", 1, True), Port("arready", 1, True)]
    ports += [Port("wdata", 32, False), Port("wstrb", 4, False), Port("wvalid", 1, False), Port("wready", 1, True)]
    ports += [Port("bresp", 2, True), Port("bvalid", 1, True), Port("bready", 1, False)]
    ports += [Port("rdata", 32, True), Port("rresp", 2, True), Port("rvalid", 1, True), Port("rready", 1, False)]
    return [Port(f"registers_{port.name}", port.width, port.out) for port in ports]


def _stream(name: str, out: bool) -> list[Port]:
    signals = [Port("tdata", 64, out), Port("tkeep", 8, out), Port("tlast", 1, out), Port("tvalid", 1, out)]
    signals.append(Port("tready", 1, not out))
    return [Port(f"{name}_{port.name}", port.width, port.out) for port in signals]


#: What a kernel calls its streams: `in` and `out` in its source, which are words of VHDL, so Vitis HLS adds the `_r`.
STREAMS: Final = {"activations": "in_r", "parameters": "parameters", "results": "out_r"}

#: What crosses a partition's border.
PORTS = (
    Port("clock", 1, False),
    Port("reset_n", 1, False),
    *_axi_lite(),
    *_stream("activations", False),
    *_stream("parameters", False),
    *_stream("results", True),
)

#: The processor's own pins: (name, bits).
PINS = (
    *(("DDR_addr", 15), ("DDR_ba", 3), ("DDR_cas_n", 1), ("DDR_ck_n", 1), ("DDR_ck_p", 1), ("DDR_cke", 1)),
    *(("DDR_cs_n", 1), ("DDR_dm", 4), ("DDR_dq", 32), ("DDR_dqs_n", 4), ("DDR_dqs_p", 4), ("DDR_odt", 1)),
    *(("DDR_ras_n", 1), ("DDR_reset_n", 1), ("DDR_we_n", 1), ("FIXED_IO_ddr_vrn", 1), ("FIXED_IO_ddr_vrp", 1)),
    *(("FIXED_IO_mio", 54), ("FIXED_IO_ps_clk", 1), ("FIXED_IO_ps_porb", 1), ("FIXED_IO_ps_srstb", 1)),
)


def top_name(shell: str) -> str:
    """The top module of a shell with partitions."""
    return f"convoy_{shell.replace('-', '_')}"


def module_name(partition: str) -> str:
    """The module that stands for a partition, empty in the static design and one of the kernels in each image."""
    return f"slot_{partition}"


def top(plan: Floorplan) -> str:
    """The top: the block design's wrapper, and an empty module for each partition."""
    names = [partition.name for partition in plan.partitions]
    wires = [
        f"wire {_range(port.width)}{port.name.replace('_', f'_{name}_', 1)};"
        for name in names
        for port in PORTS
        if not _shared(port)
    ]
    wrapper = [(pin, pin) for pin, _ in PINS] + [("clock", "clock"), ("reset_n", "reset_n")]
    for name in names:
        wrapper += [(_wire(port, name), _wire(port, name)) for port in PORTS if not _shared(port)]
    lines = [
        f"// Made from the floorplan of shell {plan.shell}: change that, not this.",
        f"module {top_name(plan.shell)} (",
        _joined(f"    inout wire {_range(width)}{pin}" for pin, width in PINS),
        ");",
        "wire clock, reset_n;",
        *wires,
        _instance("system_wrapper", "system_i", wrapper),
    ]
    for name in names:
        lines.append(_instance(module_name(name), name, [(port.name, _wire(port, name)) for port in PORTS]))
    lines.append("endmodule\n")
    for name in names:
        lines += ["(* black_box *)", *_header(name), "endmodule\n"]
    return "\n".join(lines)


def module(partition: str) -> str:
    """A partition's module that holds the kernel which the project calls `kernel`."""
    pins = [("ap_clk", "clock"), ("ap_rst_n", "reset_n"), ("interrupt", "")]
    for port in PORTS:
        if _shared(port):
            continue
        interface, signal = port.name.split("_", 1)
        if interface == "registers":
            address = signal in ("awaddr", "araddr")
            value = f"{port.name}[{ADDRESS_BITS - 1}:0]" if address else port.name
            pins.append((f"s_axi_control_{signal.upper()}", value))
        else:
            pins.append((f"{STREAMS[interface]}_{signal.upper()}", port.name))
    pins += [(f"{STREAMS[name]}_TSTRB", "" if name == "results" else "8'hFF") for name in STREAMS]
    return "\n".join(
        [
            f"// A module of partition {partition}.",
            *_header(partition),
            _instance("kernel", "kernel_i", pins),
            "endmodule\n",
        ]
    )


def _shared(port: Port) -> bool:
    return port.name in ("clock", "reset_n")


def _wire(port: Port, partition: str) -> str:
    """A port of the block design and the wire at it: the interface port's name stands before the signal's."""
    return port.name if _shared(port) else port.name.replace("_", f"_{partition}_", 1)


def _header(partition: str) -> list[str]:
    return [f"module {module_name(partition)} (", _joined(f"    {port.declared()}" for port in PORTS), ");"]


def _instance(module_: str, name: str, pins: Iterable[tuple[str, str]]) -> str:
    return f"{module_} {name} (\n" + _joined(f"    .{pin}({value})" for pin, value in pins) + "\n);"


def _joined(lines: Iterable[str]) -> str:
    return ",\n".join(lines)


def _range(width: int) -> str:
    return "" if width == 1 else f"[{width - 1}:0] "
