# The IPs: identities, parameters with the values they take, and the pins that follow from those. From the product
# guides PG021 (DMA), PG059 (interconnects), PG085 (stream switch), PG164 (reset), PG375 (decoupler), UG585 and PG082
# (processor). Only what a shell could use: another parameter of the real IP is refused until it is added here.

namespace eval ::recorder {
    # vlnv -> parameters {name {kind default}}, pins: a procedure that gets the parameters' values and returns a list
    # of {interface NAME MODE TYPE NEEDED} and {pin NAME DIRECTION TYPE NEEDED}. DIRECTION I or O, TYPE clk, rst, other.
    variable ips {}

    proc ip {vlnv parameters pins} {
        variable ips
        dict set ips $vlnv [list $parameters $pins]
    }

    proc numbered {count format} {
        set names {}
        for {set number 0} {$number < $count} {incr number} {
            lappend names [format $format $number]
        }
        return $names
    }

    # ---- processing_system7 -----------------------------------------------------------------------------------------

    set parameters {
        PCW_CRYSTAL_PERIPHERAL_FREQMHZ {real:30:60 33.333333}
        PCW_APU_PERIPHERAL_FREQMHZ {real:50:1000 666.666666}
        PCW_UIPARAM_DDR_ENABLE {bool 1}
        PCW_UIPARAM_DDR_MEMORY_TYPE {one:DDR\ 3|DDR\ 3\ (Low\ Voltage)|DDR\ 2|LPDDR\ 2 {DDR 3}}
        PCW_UIPARAM_DDR_PARTNO {
            one:MT41J256M16\ RE-125|MT41K256M16\ RE-125|MT41J128M16\ HA-15E|MT41J256M8\ HX-15E|MT41K128M16\ JT-125|Custom
            {MT41J256M8 HX-15E}
        }
        PCW_UIPARAM_DDR_BUS_WIDTH {one:16\ Bit|32\ Bit {32 Bit}}
        PCW_UIPARAM_DDR_FREQ_MHZ {real:200:534 533.333333}
        PCW_UIPARAM_DDR_TRAIN_DATA_EYE {bool 1}
        PCW_UIPARAM_DDR_TRAIN_READ_GATE {bool 1}
        PCW_UIPARAM_DDR_TRAIN_WRITE_LEVEL {bool 1}
        PCW_PRESET_BANK0_VOLTAGE {one:LVCMOS\ 1.8V|LVCMOS\ 2.5V|LVCMOS\ 3.3V {LVCMOS 3.3V}}
        PCW_PRESET_BANK1_VOLTAGE {one:LVCMOS\ 1.8V|LVCMOS\ 2.5V|LVCMOS\ 3.3V {LVCMOS 3.3V}}
        PCW_QSPI_PERIPHERAL_ENABLE {bool 0}
        PCW_QSPI_QSPI_IO {one:MIO\ 1\ ..\ 6 {}}
        PCW_ENET0_PERIPHERAL_ENABLE {bool 0}
        PCW_ENET0_ENET0_IO {one:MIO\ 16\ ..\ 27|EMIO {}}
        PCW_ENET0_GRP_MDIO_ENABLE {bool 0}
        PCW_ENET0_GRP_MDIO_IO {one:MIO\ 52\ ..\ 53|EMIO {}}
        PCW_SD0_PERIPHERAL_ENABLE {bool 0}
        PCW_SD0_SD0_IO {one:MIO\ 16\ ..\ 21|MIO\ 28\ ..\ 33|MIO\ 40\ ..\ 45|EMIO {}}
        PCW_SD0_GRP_CD_ENABLE {bool 0}
        PCW_UART0_PERIPHERAL_ENABLE {bool 0}
        PCW_UART1_PERIPHERAL_ENABLE {bool 0}
        PCW_UART0_UART0_IO {one:MIO\ 10\ ..\ 11|MIO\ 14\ ..\ 15|MIO\ 18\ ..\ 19|MIO\ 46\ ..\ 47|MIO\ 50\ ..\ 51|EMIO {}}
        PCW_USB0_PERIPHERAL_ENABLE {bool 0}
        PCW_USB0_USB0_IO {one:MIO\ 28\ ..\ 39 {}}
        PCW_USB0_RESET_ENABLE {bool 0}
        PCW_ENET0_RESET_ENABLE {bool 0}
        PCW_GPIO_MIO_GPIO_ENABLE {bool 0}
        PCW_GPIO_EMIO_GPIO_ENABLE {bool 0}
        PCW_GPIO_EMIO_GPIO_IO {whole:1:64 64}
        PCW_USE_FABRIC_INTERRUPT {bool 0}
        PCW_IRQ_F2P_INTR {bool 0}
    }
    set pins_of_mio {}
    for {set mio 0} {$mio < 54} {incr mio} {
        lappend pins_of_mio "MIO $mio"
    }
    foreach name {PCW_ENET0_RESET_IO PCW_USB0_RESET_IO PCW_SD0_GRP_CD_IO} {
        dict set parameters $name [list one:[join $pins_of_mio |] {}]
    }
    foreach number {0 1 2 3} {
        dict set parameters PCW_EN_CLK${number}_PORT [list bool [expr {$number == 0}]]
        dict set parameters PCW_EN_RST${number}_PORT [list bool [expr {$number == 0}]]
        dict set parameters PCW_FPGA${number}_PERIPHERAL_FREQMHZ {real:0.1:250 50}
        dict set parameters PCW_USE_S_AXI_HP$number {bool 0}
        dict set parameters PCW_S_AXI_HP${number}_DATA_WIDTH {one:32|64 64}
    }
    foreach port {M_AXI_GP0 M_AXI_GP1 S_AXI_GP0 S_AXI_GP1 S_AXI_ACP} {
        dict set parameters PCW_USE_$port [list bool [expr {$port eq "M_AXI_GP0"}]]
    }

    ip xilinx.com:ip:processing_system7:5.5 $parameters {
        set pins {{interface DDR Master ddrx 1} {interface FIXED_IO Master fixedio 1}}
        foreach {port mode} {
            M_AXI_GP0 Master M_AXI_GP1 Master S_AXI_GP0 Slave S_AXI_GP1 Slave S_AXI_ACP Slave
            S_AXI_HP0 Slave S_AXI_HP1 Slave S_AXI_HP2 Slave S_AXI_HP3 Slave
        } {
            if {[dict get $values PCW_USE_$port]} {
                lappend pins [list interface $port $mode aximm 1] [list pin ${port}_ACLK I clk 1]
            }
        }
        foreach number {0 1 2 3} {
            if {[dict get $values PCW_EN_CLK${number}_PORT]} {
                lappend pins [list pin FCLK_CLK$number O clk 0]
            }
            if {[dict get $values PCW_EN_RST${number}_PORT]} {
                lappend pins [list pin FCLK_RESET${number}_N O rst 0]
            }
        }
        return $pins
    }

    # ---- resets, interconnects -----------------------------------------------------------------------------------------

    ip xilinx.com:ip:proc_sys_reset:5.0 {
        C_EXT_RST_WIDTH {whole:1:16 4} C_AUX_RST_WIDTH {whole:1:16 4} C_EXT_RESET_HIGH {bool 0}
        C_AUX_RESET_HIGH {bool 0} C_NUM_BUS_RST {whole:1:16 1} C_NUM_PERP_RST {whole:1:16 1}
        C_NUM_INTERCONNECT_ARESETN {whole:1:16 1} C_NUM_PERP_ARESETN {whole:1:16 1}
    } {
        return {
            {pin slowest_sync_clk I clk 1} {pin ext_reset_in I rst 1} {pin aux_reset_in I rst 0}
            {pin mb_debug_sys_rst I rst 0} {pin dcm_locked I other 0} {pin mb_reset O rst 0}
            {pin bus_struct_reset O rst 0} {pin peripheral_reset O rst 0} {pin interconnect_aresetn O rst 0}
            {pin peripheral_aresetn O rst 0}
        }
    }

    ip xilinx.com:ip:smartconnect:1.0 {
        NUM_SI {whole:1:16 2} NUM_MI {whole:1:16 1} NUM_CLKS {whole:1:8 1} HAS_ARESETN {bool 1}
    } {
        set pins {{pin aclk I clk 1} {pin aresetn I rst 1}}
        foreach name [numbered [dict get $values NUM_SI] S%02d_AXI] { lappend pins [list interface $name Slave aximm 1] }
        foreach name [numbered [dict get $values NUM_MI] M%02d_AXI] { lappend pins [list interface $name Master aximm 1] }
        return $pins
    }

    ip xilinx.com:ip:axi_interconnect:2.1 {
        NUM_SI {whole:1:16 1} NUM_MI {whole:1:64 2} STRATEGY {one:0|1|2 0} ENABLE_ADVANCED_OPTIONS {bool 0}
    } {
        set pins {{pin ACLK I clk 1} {pin ARESETN I rst 1}}
        foreach {parameter letter mode} {NUM_SI S Slave NUM_MI M Master} {
            foreach name [numbered [dict get $values $parameter] $letter%02d] {
                lappend pins [list interface ${name}_AXI $mode aximm 1]
                lappend pins [list pin ${name}_ACLK I clk 1] [list pin ${name}_ARESETN I rst 1]
            }
        }
        return $pins
    }

    # ---- streams ---------------------------------------------------------------------------------------------------------

    set widths one:32|64|128|256|512|1024
    set bursts one:2|4|8|16|32|64|128|256
    ip xilinx.com:ip:axi_dma:7.1 [list \
        c_include_sg {bool 1} c_sg_include_stscntrl_strm {bool 1} c_sg_length_width {whole:8:26 14} \
        c_enable_multi_channel {bool 0} c_micro_dma {bool 0} c_addr_width {whole:32:64 32} \
        c_include_mm2s {bool 1} c_include_s2mm {bool 1} c_single_interface {bool 0} \
        c_m_axi_mm2s_data_width [list $widths 32] c_m_axis_mm2s_tdata_width {one:8|16|32|64|128|256|512|1024 32} \
        c_mm2s_burst_size [list $bursts 16] c_include_mm2s_dre {bool 0} c_include_mm2s_sf {bool 1} \
        c_m_axi_s2mm_data_width [list $widths 32] c_s_axis_s2mm_tdata_width {one:8|16|32|64|128|256|512|1024 32} \
        c_s2mm_burst_size [list $bursts 16] c_include_s2mm_dre {bool 0} c_include_s2mm_sf {bool 1} \
        c_prmry_is_aclk_async {bool 0} \
    ] {
        set pins {{interface S_AXI_LITE Slave aximm 1} {pin s_axi_lite_aclk I clk 1} {pin axi_resetn I rst 1}}
        if {[dict get $values c_include_sg]} {
            lappend pins {interface M_AXI_SG Master aximm 1} {pin m_axi_sg_aclk I clk 1}
        }
        if {[dict get $values c_include_mm2s]} {
            lappend pins {interface M_AXI_MM2S Master aximm 1} {interface M_AXIS_MM2S Master axis 1} \
                {pin m_axi_mm2s_aclk I clk 1} {pin mm2s_introut O other 0} {pin mm2s_prmry_reset_out_n O rst 0}
        }
        if {[dict get $values c_include_s2mm]} {
            lappend pins {interface M_AXI_S2MM Master aximm 1} {interface S_AXIS_S2MM Slave axis 1} \
                {pin m_axi_s2mm_aclk I clk 1} {pin s2mm_introut O other 0} {pin s2mm_prmry_reset_out_n O rst 0}
        }
        return $pins
    }

    ip xilinx.com:ip:axis_switch:1.1 {
        NUM_SI {whole:1:16 2} NUM_MI {whole:1:16 1} ROUTING_MODE {one:0|1 0} DECODER_REG {bool 0} OUTPUT_REG {bool 0}
        TDATA_NUM_BYTES {whole:0:512 1} HAS_TREADY {bool 1} HAS_TSTRB {bool 0} HAS_TKEEP {bool 0} HAS_TLAST {bool 0}
        TID_WIDTH {whole:0:32 0} TDEST_WIDTH {whole:0:32 0} TUSER_WIDTH {whole:0:4096 0} ARB_ON_TLAST {bool 0}
        ARB_ON_MAX_XFERS {whole:0:1000000 1} ARB_ON_NUM_CYCLES {whole:0:1000000 0} COMMON_CLOCK {bool 0}
    } {
        if {[dict get $values NUM_SI] == 1 && [dict get $values NUM_MI] == 1} {
            refuse "axis_switch: one input and one output are no switch"
        }
        set pins {{pin aclk I clk 1} {pin aresetn I rst 1}}
        if {[dict get $values ROUTING_MODE]} {
            lappend pins {interface S_AXI_CTRL Slave aximm 1} {pin s_axi_ctrl_aclk I clk 1} \
                {pin s_axi_ctrl_aresetn I rst 1}
        }
        foreach name [numbered [dict get $values NUM_SI] S%02d_AXIS] { lappend pins [list interface $name Slave axis 0] }
        foreach name [numbered [dict get $values NUM_MI] M%02d_AXIS] { lappend pins [list interface $name Master axis 0] }
        return $pins
    }

    # ---- decoupler -------------------------------------------------------------------------------------------------------

    variable signals {
        axis {TVALID TREADY TDATA TKEEP TLAST TSTRB TUSER TID TDEST}
        aximm {
            AWADDR AWPROT AWVALID AWREADY WDATA WSTRB WVALID WREADY BRESP BVALID BREADY ARADDR ARPROT ARVALID ARREADY
            RDATA RRESP RVALID RREADY AWID AWLEN AWSIZE AWBURST AWLOCK AWCACHE AWREGION AWQOS AWUSER WID WLAST WUSER
            BID BUSER ARID ARLEN ARSIZE ARBURST ARLOCK ARCACHE ARREGION ARQOS ARUSER RID RLAST RUSER
        }
    }

    # The dictionary of PG375, key by key.
    proc check_decoupler {values} {
        variable signals
        set flags {
            HAS_AXI_LITE HAS_AXIS_CONTROL HAS_AXIS_STATUS HAS_SIGNAL_CONTROL HAS_SIGNAL_STATUS ALWAYS_HAVE_AXI_CLK
        }
        foreach {key value} $values {
            if {$key in $flags} {
                check_value "dfx_decoupler $key" bool $value
            } elseif {$key ne "INTF"} {
                refuse "dfx_decoupler: ALL_PARAMS has no key $key"
            }
        }
        foreach {name interface} [dict get $values INTF] {
            foreach {key value} $interface {
                switch $key {
                    ID { check_value "dfx_decoupler $name ID" whole:0:255 $value }
                    MODE { check_value "dfx_decoupler $name MODE" one:master|slave $value }
                    VLNV { type_of_interface $value }
                    PROTOCOL { check_value "dfx_decoupler $name PROTOCOL" one:AXI3|AXI4|AXI4LITE|axi3|axi4|axi4lite $value }
                    REGISTER { check_value "dfx_decoupler $name REGISTER" bool $value }
                    CDC_STAGES { check_value "dfx_decoupler $name CDC_STAGES" one:0|2|3|4|5|6 $value }
                    SIGNALS { }
                    default { refuse "dfx_decoupler: interface $name has no key $key" }
                }
            }
            set known [dict get $signals [type_of_interface [dict get $interface VLNV]]]
            foreach {signal settings} [dict get $interface SIGNALS] {
                if {$signal ni $known} {
                    refuse "dfx_decoupler: interface $name has no signal $signal"
                }
                foreach {key value} $settings {
                    switch $key {
                        PRESENT { check_value "dfx_decoupler $signal PRESENT" bool $value }
                        WIDTH { check_value "dfx_decoupler $signal WIDTH" whole:0:1024 $value }
                        MANAGEMENT { check_value "dfx_decoupler $signal MANAGEMENT" one:auto|manual $value }
                        DECOUPLED { check_value "dfx_decoupler $signal DECOUPLED" bool $value }
                        DECOUPLED_VALUE { }
                        default { refuse "dfx_decoupler: signal $signal has no key $key" }
                    }
                }
            }
        }
    }

    ip xilinx.com:ip:dfx_decoupler:1.0 {
        ALL_PARAMS {text {}} GUI_SELECT_INTERFACE {whole:-1:255 -1} GUI_INTERFACE_NAME {text {}}
        GUI_SELECT_VLNV {text {}} GUI_SELECT_MODE {one:master|slave master} GUI_HAS_AXI_LITE {bool 0}
        GUI_HAS_SIGNAL_CONTROL {bool 1} GUI_HAS_SIGNAL_STATUS {bool 1}
    } {
        set all [dict get $values ALL_PARAMS]
        if {![llength $all]} {
            return {{pin decouple I other 1}}
        }
        check_decoupler $all
        set set_so [dict merge {HAS_AXI_LITE 0 HAS_SIGNAL_CONTROL 1 HAS_SIGNAL_STATUS 1 ALWAYS_HAVE_AXI_CLK 0} $all]
        set pins {}
        if {[dict get $set_so HAS_AXI_LITE]} {
            lappend pins {interface s_axi_reg Slave aximm 1} {pin aclk I clk 1} {pin s_axi_reg_aresetn I rst 1}
        }
        if {[dict get $set_so HAS_SIGNAL_CONTROL]} { lappend pins {pin decouple I other 1} }
        if {[dict get $set_so HAS_SIGNAL_STATUS]} { lappend pins {pin decouple_status O other 0} }
        foreach {name interface} [dict get $all INTF] {
            set type [type_of_interface [dict get $interface VLNV]]
            set slave [expr {[dict exists $interface MODE] && [dict get $interface MODE] eq "slave"}]
            lappend pins [list interface rp_$name [expr {$slave ? "Master" : "Slave"}] $type 1]
            lappend pins [list interface s_$name [expr {$slave ? "Slave" : "Master"}] $type 1]
            if {[dict get $set_so ALWAYS_HAVE_AXI_CLK]} {
                lappend pins [list pin ${name}_aclk I clk 1] [list pin ${name}_arstn I rst 1]
            }
        }
        return $pins
    }

    # ---- what Vitis HLS exported: ports are in the file that its recorder left ---------------------------------------------

    proc add_exported_ips {folder} {
        foreach file [glob -nocomplain -directory $folder */*/impl/ip/component.xml] {
            set stream [open $file]
            lassign [read $stream] vlnv streams
            close $stream
            set pins {
                {interface s_axi_control Slave aximm 1} {pin ap_clk I clk 1} {pin ap_rst_n I rst 1} {pin interrupt O other 0}
            }
            foreach stream $streams {
                lappend pins [list interface $stream [expr {[string match out* $stream] ? "Master" : "Slave"}] axis 1]
            }
            ip $vlnv {} [list return $pins]
        }
    }

    proc type_of_interface {vlnv} {
        switch $vlnv {
            xilinx.com:interface:aximm_rtl:1.0 { return aximm }
            xilinx.com:interface:axis_rtl:1.0 { return axis }
            default { refuse "there is no interface $vlnv" }
        }
    }
}
