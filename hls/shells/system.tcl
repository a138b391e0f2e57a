# Vivado: the block design of a shell. All three have the same middle: the processor, a DMA for activations and one for
# parameters, a stream switch behind each, and slots. A slot holds a kernel, or leads out of the design to a partition.
#
# One clock and one reset serve everything. No cell may have a name that begins with a partition's: PYNQ takes every
# such cell for a part of the partition.
# Not yet run on Vivado.

proc clock {args} {
    foreach pin $args {
        connect_bd_net [get_bd_pins processor/FCLK_CLK0] [get_bd_pins $pin]
    }
}

proc reset {args} {
    foreach pin $args {
        connect_bd_net [get_bd_pins resets/peripheral_aresetn] [get_bd_pins $pin]
    }
}

proc wire {from to} {
    connect_bd_intf_net [get_bd_intf_pins $from] [get_bd_intf_pins $to]
}

# Every AXI-Lite block of the design in turn: its pin, its address segment, its address.
proc control {pin segment address} {
    global controls
    lappend controls [list $pin $segment $address]
}

proc add_processor {plan} {
    set processor [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7:5.5 processor]
    set_property -dict [processor_settings $plan] $processor
    foreach name {DDR FIXED_IO} {
        make_bd_intf_pins_external -name $name [get_bd_intf_pins processor/$name]
    }
    create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 resets
    connect_bd_net [get_bd_pins processor/FCLK_RESET0_N] [get_bd_pins resets/ext_reset_in]
    clock resets/slowest_sync_clk processor/M_AXI_GP0_ACLK processor/S_AXI_HP0_ACLK
}

# Direct mode, without scatter-gather; the driver aligns what it moves, so no realignment engine.
proc add_dma {plan name writes address} {
    set dma [create_bd_cell -type ip -vlnv xilinx.com:ip:axi_dma:7.1 $name]
    set_property -dict [list \
        CONFIG.c_include_sg {0} \
        CONFIG.c_sg_include_stscntrl_strm {0} \
        CONFIG.c_sg_length_width [dict get $plan length_bits] \
        CONFIG.c_include_mm2s {1} \
        CONFIG.c_include_s2mm $writes \
        CONFIG.c_m_axi_mm2s_data_width {64} \
        CONFIG.c_m_axis_mm2s_tdata_width {64} \
        CONFIG.c_mm2s_burst_size {16} \
        CONFIG.c_include_mm2s_dre {0} \
    ] $dma
    clock $name/s_axi_lite_aclk $name/m_axi_mm2s_aclk
    reset $name/axi_resetn
    control $name/S_AXI_LITE $name/S_AXI_LITE/Reg $address
    return $dma
}

proc add_dmas {plan} {
    set activations [add_dma $plan activation_dma 1 [dict get $plan activation_dma]]
    set_property -dict [list \
        CONFIG.c_m_axi_s2mm_data_width {64} \
        CONFIG.c_s_axis_s2mm_tdata_width {64} \
        CONFIG.c_s2mm_burst_size {16} \
        CONFIG.c_include_s2mm_dre {0} \
    ] $activations
    clock activation_dma/m_axi_s2mm_aclk
    add_dma $plan parameter_dma 0 [dict get $plan parameter_dma]

    set memory [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 memory]
    set_property -dict [list CONFIG.NUM_SI {3} CONFIG.NUM_MI {1}] $memory
    clock memory/aclk
    reset memory/aresetn
    wire activation_dma/M_AXI_MM2S memory/S00_AXI
    wire activation_dma/M_AXI_S2MM memory/S01_AXI
    wire parameter_dma/M_AXI_MM2S memory/S02_AXI
    wire memory/M00_AXI processor/S_AXI_HP0
    foreach space {activation_dma/Data_MM2S activation_dma/Data_S2MM parameter_dma/Data_MM2S} {
        assign_bd_address -offset 0x00000000 -range 512M \
            -target_address_space [get_bd_addr_spaces $space] [get_bd_addr_segs processor/S_AXI_HP0/HP0_DDR_LOWOCM]
    }
}

# Routes are set by register: the driver connects one slot after another.
proc add_switch {name inputs outputs address} {
    set switch [create_bd_cell -type ip -vlnv xilinx.com:ip:axis_switch:1.1 $name]
    set_property -dict [list \
        CONFIG.ROUTING_MODE {1} \
        CONFIG.NUM_SI $inputs \
        CONFIG.NUM_MI $outputs \
        CONFIG.DECODER_REG {1} \
        CONFIG.TDATA_NUM_BYTES {8} \
        CONFIG.HAS_TLAST {1} \
        CONFIG.HAS_TKEEP {1} \
    ] $switch
    clock $name/aclk $name/s_axi_ctrl_aclk
    reset $name/aresetn $name/s_axi_ctrl_aresetn
    control $name/S_AXI_CTRL $name/S_AXI_CTRL/Reg $address
}

# Slot n: input and output n + 1 of the activation switch, output n of the parameter switch. The latter has a second
# output even for one slot, which leads nowhere: a switch of one input and one output is none.
proc add_switches {plan} {
    set slots [llength [dict get $plan slots]]
    add_switch activation_switch [expr {$slots + 1}] [expr {$slots + 1}] [dict get $plan activation_switch]
    add_switch parameter_switch 1 [expr {max($slots, 2)}] [dict get $plan parameter_switch]
    wire activation_dma/M_AXIS_MM2S activation_switch/S00_AXIS
    wire activation_switch/M00_AXIS activation_dma/S_AXIS_S2MM
    wire parameter_dma/M_AXIS_MM2S parameter_switch/S00_AXIS
}

proc activation_input {number} { return activation_switch/[format M%02d_AXIS [expr {$number + 1}]] }
proc activation_output {number} { return activation_switch/[format S%02d_AXIS [expr {$number + 1}]] }
proc parameter_input {number} { return parameter_switch/[format M%02d_AXIS $number] }

proc add_kernel {plan slot number} {
    set cell kernel_[dict get $slot cell]
    create_bd_cell -type ip -vlnv [dict get $slot vlnv] $cell
    clock $cell/ap_clk
    reset $cell/ap_rst_n
    control $cell/s_axi_control $cell/s_axi_control/Reg [dict get $slot registers]
    wire [activation_input $number] $cell/in_r
    wire [parameter_input $number] $cell/parameters
    wire $cell/out_r [activation_output $number]
}

# A decoupler with a register of its own. `interfaces` is a dictionary as the IP wants it.
proc add_decoupler {cell interfaces address} {
    set decoupler [create_bd_cell -type ip -vlnv xilinx.com:ip:dfx_decoupler:1.0 $cell]
    set_property CONFIG.ALL_PARAMS [list \
        HAS_AXI_LITE 1 HAS_SIGNAL_CONTROL 0 HAS_SIGNAL_STATUS 0 ALWAYS_HAVE_AXI_CLK 1 INTF $interfaces \
    ] $decoupler
    clock $cell/aclk
    reset $cell/s_axi_reg_aresetn
    dict for {name interface} $interfaces {
        clock $cell/${name}_aclk
        reset $cell/${name}_arstn
    }
    control $cell/s_axi_reg $cell/s_axi_reg/Reg $address
}

# The mode is the interface's at the partition, and only there.
proc stream_interface {id mode} {
    list ID $id MODE $mode VLNV xilinx.com:interface:axis_rtl:1.0 SIGNALS {
        TVALID {PRESENT 1 WIDTH 1} TREADY {PRESENT 1 WIDTH 1} TDATA {PRESENT 1 WIDTH 64} TKEEP {PRESENT 1 WIDTH 8}
        TLAST {PRESENT 1 WIDTH 1} TSTRB {PRESENT 0 WIDTH 8} TUSER {PRESENT 0 WIDTH 0} TID {PRESENT 0 WIDTH 0}
        TDEST {PRESENT 0 WIDTH 0}
    }
}

proc register_interface {id} {
    list ID $id MODE slave VLNV xilinx.com:interface:aximm_rtl:1.0 PROTOCOL AXI4LITE SIGNALS {
        AWADDR {PRESENT 1 WIDTH 32} AWVALID {PRESENT 1 WIDTH 1} AWREADY {PRESENT 1 WIDTH 1} AWPROT {PRESENT 0 WIDTH 3}
        WDATA {PRESENT 1 WIDTH 32} WSTRB {PRESENT 1 WIDTH 4} WVALID {PRESENT 1 WIDTH 1} WREADY {PRESENT 1 WIDTH 1}
        BRESP {PRESENT 1 WIDTH 2} BVALID {PRESENT 1 WIDTH 1} BREADY {PRESENT 1 WIDTH 1}
        ARADDR {PRESENT 1 WIDTH 32} ARVALID {PRESENT 1 WIDTH 1} ARREADY {PRESENT 1 WIDTH 1} ARPROT {PRESENT 0 WIDTH 3}
        RDATA {PRESENT 1 WIDTH 32} RRESP {PRESENT 1 WIDTH 2} RVALID {PRESENT 1 WIDTH 1} RREADY {PRESENT 1 WIDTH 1}
    }
}

# Two decouplers, so that the module can be asked what it is before anything streams into it. Beyond them the
# interfaces leave the design: the partition stands beside it in the top-level Verilog.
proc add_partition {plan slot number} {
    set name [dict get $slot cell]
    set registers registers_decoupler_$name
    set streams streams_decoupler_$name
    add_decoupler $registers [dict create registers [register_interface 0]] [dict get $slot registers_decoupler]
    add_decoupler $streams [dict create \
        activations [stream_interface 0 slave] \
        parameters [stream_interface 1 slave] \
        results [stream_interface 2 master] \
    ] [dict get $slot streams_decoupler]
    control $registers/s_registers registers_$name/Reg [dict get $slot registers]
    wire [activation_input $number] $streams/s_activations
    wire [parameter_input $number] $streams/s_parameters
    wire $streams/s_results [activation_output $number]

    set port [create_bd_intf_port -mode Master -vlnv xilinx.com:interface:aximm_rtl:1.0 registers_$name]
    set_property -dict [list CONFIG.PROTOCOL {AXI4LITE} CONFIG.ADDR_WIDTH {32} CONFIG.DATA_WIDTH {32}] $port
    connect_bd_intf_net [get_bd_intf_pins $registers/rp_registers] $port
    foreach stream {activations parameters} {
        set port [create_bd_intf_port -mode Master -vlnv xilinx.com:interface:axis_rtl:1.0 ${stream}_$name]
        connect_bd_intf_net [get_bd_intf_pins $streams/rp_$stream] $port
    }
    set port [create_bd_intf_port -mode Slave -vlnv xilinx.com:interface:axis_rtl:1.0 results_$name]
    set_property -dict [list \
        CONFIG.TDATA_NUM_BYTES {8} CONFIG.HAS_TKEEP {1} CONFIG.HAS_TLAST {1} CONFIG.HAS_TREADY {1} CONFIG.HAS_TSTRB {0} \
        CONFIG.TID_WIDTH {0} CONFIG.TDEST_WIDTH {0} CONFIG.TUSER_WIDTH {0} \
    ] $port
    connect_bd_intf_net $port [get_bd_intf_pins $streams/rp_results]
}

# The clock and the reset of the partitions, and which ports belong to that clock.
proc add_partition_clock {plan} {
    set interfaces {}
    dict for {name partition} [dict get $plan partitions] {
        lappend interfaces registers_$name activations_$name parameters_$name results_$name
    }
    set clock [create_bd_port -dir O -type clk clock]
    set_property CONFIG.ASSOCIATED_BUSIF [join $interfaces :] $clock
    connect_bd_net [get_bd_pins processor/FCLK_CLK0] $clock
    connect_bd_net [get_bd_pins resets/peripheral_aresetn] [create_bd_port -dir O -type rst reset_n]
}

proc connect_controls {} {
    global controls
    set interconnect [create_bd_cell -type ip -vlnv xilinx.com:ip:axi_interconnect:2.1 control]
    set_property -dict [list CONFIG.NUM_SI {1} CONFIG.NUM_MI [llength $controls]] $interconnect
    clock control/ACLK control/S00_ACLK
    reset control/ARESETN control/S00_ARESETN
    wire processor/M_AXI_GP0 control/S00_AXI
    set number 0
    foreach block $controls {
        lassign $block pin segment address
        set output [format M%02d $number]
        clock control/${output}_ACLK
        reset control/${output}_ARESETN
        wire control/${output}_AXI $pin
        assign_bd_address -offset $address -range 64K \
            -target_address_space [get_bd_addr_spaces processor/Data] [get_bd_addr_segs $segment]
        incr number
    }
}

# The design `system`, saved and valid.
proc build_system {plan} {
    global controls
    set controls {}
    create_bd_design system
    add_processor $plan
    add_dmas $plan
    add_switches $plan
    set add [expr {[dict size [dict get $plan partitions]] ? "add_partition" : "add_kernel"}]
    set number 0
    foreach slot [dict get $plan slots] {
        $add $plan $slot $number
        incr number
    }
    if {[dict size [dict get $plan partitions]]} {
        add_partition_clock $plan
    }
    connect_controls
    validate_bd_design
    save_bd_design
}
