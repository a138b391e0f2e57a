# What Vivado takes of block designs (UG835, UG994): cells, pins, nets, ports, address segments, and what its validation
# would miss: clocks, resets and interfaces that lead nowhere.

namespace eval ::recorder {
    # cells: name -> vlnv, values. pins: "interface|pin NAME" of cell/name -> {kind mode-or-direction type needed}, worked
    # out anew whenever a parameter is set. nets: pin or port -> list of what it is connected with.
    variable bd {}

    proc bd {name} {
        variable bd
        if {![dict exists $bd name]} {
            refuse "$name: no block design is open"
        }
    }

    proc is_valid {name} {
        variable bd
        return [expr {[dict exists $bd saved] && [dict get $bd name] eq $name}]
    }

    # Values of a cell's parameters, with the defaults where nothing was set.
    proc values {cell} {
        variable bd
        variable ips
        set found {}
        dict for {name spec} [lindex [dict get $ips [dict get $bd cells $cell vlnv]] 0] {
            dict set found $name [lindex $spec 1]
        }
        return [dict merge $found [dict get $bd cells $cell values]]
    }

    proc work_out_pins {cell} {
        variable bd
        variable ips
        set values [values $cell]
        set pins {}
        foreach pin [apply [list values [lindex [dict get $ips [dict get $bd cells $cell vlnv]] 1] ::recorder] $values] {
            dict set pins [lindex $pin 1] [lreplace $pin 1 1]
        }
        dict set bd cells $cell pins $pins
    }

    # Sets a property of a cell, a port or an IP.
    proc put_config {class object name value} {
        variable bd
        variable ips
        if {![regexp {^CONFIG\.(.+)$} $name -> parameter]} {
            refuse "$name is no property of a $class that can be set"
        }
        set owner [name_of $class $object]
        if {$class eq "bd_cell"} {
            set known [lindex [dict get $ips [dict get $bd cells $owner vlnv]] 0]
            if {![dict exists $known $parameter]} {
                refuse "[dict get $bd cells $owner vlnv] has no parameter $parameter"
            }
            check_value "$owner $parameter" [lindex [dict get $known $parameter] 0] $value
            dict set bd cells $owner values $parameter $value
            return
        }
        set known {
            bd_port {FREQ_HZ text ASSOCIATED_BUSIF text ASSOCIATED_RESET text POLARITY one:ACTIVE_HIGH|ACTIVE_LOW}
            aximm {
                PROTOCOL one:AXI3|AXI4|AXI4LITE ADDR_WIDTH whole:1:64 DATA_WIDTH one:32|64|128|256|512|1024 ID_WIDTH whole:0:32
                HAS_PROT bool HAS_CACHE bool HAS_LOCK bool HAS_QOS bool HAS_REGION bool HAS_BURST bool HAS_WSTRB bool
                HAS_BRESP bool HAS_RRESP bool FREQ_HZ text
            }
            axis {
                TDATA_NUM_BYTES whole:0:512 HAS_TREADY bool HAS_TSTRB bool HAS_TKEEP bool HAS_TLAST bool TID_WIDTH whole:0:32
                TDEST_WIDTH whole:0:32 TUSER_WIDTH whole:0:4096 LAYERED_METADATA text FREQ_HZ text
            }
        }
        set type [expr {$class eq "bd_port" ? "bd_port" : [dict get $bd ports $owner type]}]
        if {![dict exists $known $type $parameter]} {
            refuse "a port of type $type has no parameter $parameter"
        }
        check_value "$owner $parameter" [dict get $known $type $parameter] $value
        if {$parameter eq "ASSOCIATED_BUSIF"} {
            foreach name [split $value :] {
                if {![dict exists $bd ports $name]} {
                    refuse "ASSOCIATED_BUSIF: there is no port $name"
                }
            }
        }
    }

    # The pins that a top level connects of the wrapper are the design's ports, each of them.
    proc check_wrapper_pins {pins} {
        variable bd
        if {![llength $pins]} {
            return
        }
        set signals {
            axis {tdata tkeep tlast tvalid tready tstrb}
            aximm {
                awaddr awprot awvalid awready wdata wstrb wvalid wready bresp bvalid bready araddr arprot arvalid arready
                rdata rresp rvalid rready
            }
        }
        set ports {}
        foreach pin $pins {
            set port $pin
            if {[regexp {^(DDR|FIXED_IO)_} $pin -> port]} {
                if {![dict exists $bd external $port]} { refuse "system_wrapper has no pin $pin" }
                continue
            }
            if {![dict exists $bd ports $pin]} {
                set signal [lindex [split $pin _] end]
                set port [string range $pin 0 end-[expr {[string length $signal] + 1}]]
                if {![dict exists $bd ports $port] || ![dict exists $signals [dict get $bd ports $port type]]
                        || $signal ni [dict get $signals [dict get $bd ports $port type]]} {
                    refuse "system_wrapper has no pin $pin"
                }
            }
            dict set ports $port 1
        }
        foreach port [dict keys [dict get $bd ports]] {
            if {![dict exists $ports $port]} { refuse "the top level leaves port $port of system_wrapper open" }
        }
    }

    # ---- making ---------------------------------------------------------------------------------------------------------

    command create_bd_design {-dir value -name value -cell value} 0 1 {
        variable bd
        variable project
        project create_bd_design
        set name [lindex $arguments 0]
        set bd [dict create name $name cells {} ports {} nets {} segments {}]
        dict set project files $name.bd 1
    }

    command create_bd_cell {-type ip|hier|module -vlnv value -reference value -revision value} 1 1 {
        variable bd
        variable ips
        bd create_bd_cell
        set name [lindex $arguments 0]
        set vlnv [need create_bd_cell $options -vlnv]
        if {[need create_bd_cell $options -type] ne "ip"} {
            refuse "create_bd_cell: -vlnv goes with -type ip"
        }
        if {![dict exists $ips $vlnv]} {
            refuse "create_bd_cell: there is no IP $vlnv"
        }
        if {[dict exists $bd cells $name] || ![regexp {^[a-zA-Z]\w*$} $name]} {
            refuse "create_bd_cell: $name is taken, or is no name"
        }
        dict set bd cells $name [dict create vlnv $vlnv values {} pins {}]
        work_out_pins $name
        note cell $name $vlnv
        return [object bd_cell $name]
    }

    command create_bd_intf_port {-mode Master|Slave|Monitor -vlnv value} 1 1 {
        variable bd
        bd create_bd_intf_port
        set name [lindex $arguments 0]
        set type [type_of_interface [need create_bd_intf_port $options -vlnv]]
        set mode [need create_bd_intf_port $options -mode]
        dict set bd ports $name [dict create mode $mode type $type]
        note intf_port $name $mode $type
        return [object bd_intf_port $name]
    }

    command create_bd_port {-dir I|O|IO -type clk|rst|ce|intr|data|undef -from value -to value -freq_hz value} 1 1 {
        variable bd
        bd create_bd_port
        set name [lindex $arguments 0]
        set type [given $options -type undef]
        dict set bd ports $name [dict create direction [need create_bd_port $options -dir] type $type]
        note port $name [dict get $options -dir] $type
        return [object bd_port $name]
    }

    # ---- finding --------------------------------------------------------------------------------------------------------

    proc find_pin {command kind name} {
        variable bd
        bd $command
        lassign [split $name /] cell pin
        if {![dict exists $bd cells $cell]} {
            refuse "$command: there is no cell $cell"
        }
        if {![dict exists $bd cells $cell pins $pin] || [lindex [dict get $bd cells $cell pins $pin] 0] ne $kind} {
            refuse "$command: [dict get $bd cells $cell vlnv] has no $kind $pin"
        }
        return $name
    }

    set finding {-regexp flag -hierarchical flag -filter value -of_objects value -nocase flag -include_contained flag}
    command get_bd_pins $finding 1 1 { return [object bd_pin [find_pin get_bd_pins pin [lindex $arguments 0]]] }
    command get_bd_intf_pins $finding 1 1 {
        return [object bd_intf_pin [find_pin get_bd_intf_pins interface [lindex $arguments 0]]]
    }

    command get_bd_addr_spaces $finding 1 1 {
        lassign [split [lindex $arguments 0] /] cell space
        set spaces {processing_system7 Data axi_dma {Data_MM2S Data_S2MM Data_SG}}
        set vlnv [dict get [cell_of get_bd_addr_spaces $cell] vlnv]
        set type [lindex [split $vlnv :] 2]
        if {![dict exists $spaces $type] || $space ni [dict get $spaces $type]} {
            refuse "get_bd_addr_spaces: $vlnv has no address space $space"
        }
        if {$type eq "axi_dma"} {
            find_pin get_bd_addr_spaces interface $cell/[string map {Data M_AXI} $space]
        }
        return [object bd_addr_space $cell/$space]
    }

    proc cell_of {command name} {
        variable bd
        bd $command
        if {![dict exists $bd cells $name]} {
            refuse "$command: there is no cell $name"
        }
        return [dict get $bd cells $name]
    }

    # A segment is INTERFACE/Reg of a cell, PORT/Reg of an interface that leaves the design, or the memory behind a port
    # of the processor.
    command get_bd_addr_segs {-regexp flag -hierarchical flag -filter value -of_objects value -excluded flag -addressed flag} \
            1 1 {
        variable bd
        bd get_bd_addr_segs
        set path [split [lindex $arguments 0] /]
        if {[llength $path] == 2} {
            lassign $path port segment
            if {![dict exists $bd ports $port] || [dict get $bd ports $port type] ne "aximm" || $segment ne "Reg"} {
                refuse "get_bd_addr_segs: there is no segment [join $path /]"
            }
            return [object bd_addr_seg $port]
        }
        lassign $path cell interface segment
        find_pin get_bd_addr_segs interface $cell/$interface
        set type [lindex [split [dict get $bd cells $cell vlnv] :] 2]
        set known Reg
        if {$type eq "processing_system7"} {
            set known [regsub {^S_AXI_(HP\d)$} $interface {\1_DDR_LOWOCM}]
        }
        if {$segment ne $known || [lindex [dict get $bd cells $cell pins $interface] 1] ne "Slave"} {
            refuse "get_bd_addr_segs: $cell/$interface has no segment $segment"
        }
        return [object bd_addr_seg $cell/$interface]
    }

    # ---- connecting -----------------------------------------------------------------------------------------------------------

    # What a pin or port is: {kind mode type name}, modes as seen from within the design.
    proc end_of {object} {
        variable bd
        set class [class_of $object]
        set name [name_of $class $object]
        switch $class {
            bd_pin - bd_intf_pin {
                lassign [split $name /] cell pin
                lassign [dict get $bd cells $cell pins $pin] kind mode type
                return [list $kind $mode $type $name]
            }
            bd_port {
                # A port that leaves is, within, something to drive.
                set direction [expr {[dict get $bd ports $name direction] eq "O" ? "I" : "O"}]
                return [list pin $direction [dict get $bd ports $name type] $name]
            }
            bd_intf_port {
                set mode [expr {[dict get $bd ports $name mode] eq "Master" ? "Slave" : "Master"}]
                return [list interface $mode [dict get $bd ports $name type] $name]
            }
            default { refuse "$object cannot be connected" }
        }
    }

    proc connected {name} {
        variable bd
        return [dict exists $bd nets $name]
    }

    command connect_bd_net {-net value -boundary_type upper|lower|both} 1 -1 {
        variable bd
        bd connect_bd_net
        set ends [lmap object [concat {*}$arguments] { end_of $object }]
        set sources 0
        foreach end $ends {
            lassign $end kind direction type name
            if {$kind ne "pin"} { refuse "connect_bd_net: $name is an interface" }
            incr sources [expr {$direction eq "O"}]
            if {$direction eq "I" && [connected $name]} { refuse "connect_bd_net: $name is connected already" }
        }
        if {$sources != 1 || [llength $ends] < 2} {
            refuse "connect_bd_net: one source and what it drives; [lmap end $ends { lindex $end 3 }]"
        }
        foreach end $ends {
            lassign $end kind direction type name
            set types [lsort -unique [lmap one $ends { lindex $one 2 }]]
            if {[llength $types] > 1} { refuse "connect_bd_net: $types do not go together: [lmap one $ends { lindex $one 3 }]" }
            dict set bd nets $name [lmap one $ends { lindex $one 3 }]
        }
    }

    command connect_bd_intf_net {-intf_net value -boundary_type upper|lower|both -auto_detect flag} 2 2 {
        variable bd
        bd connect_bd_intf_net
        set ends [lmap object $arguments { end_of $object }]
        foreach end $ends {
            lassign $end kind mode type name
            if {$kind ne "interface"} { refuse "connect_bd_intf_net: $name is no interface" }
            if {[connected $name]} { refuse "connect_bd_intf_net: $name is connected already" }
        }
        lassign $ends first second
        if {[lindex $first 2] ne [lindex $second 2] || [lindex $first 1] eq [lindex $second 1]} {
            refuse "connect_bd_intf_net: [lindex $first 3] is a [lrange $first 1 2], [lindex $second 3] a [lrange $second 1 2]"
        }
        dict set bd nets [lindex $first 3] [lindex $second 3]
        dict set bd nets [lindex $second 3] [lindex $first 3]
        note wire [lindex $first 3] [lindex $second 3]
    }

    command make_bd_intf_pins_external {-name value} 1 1 {
        variable bd
        set pin [name_of bd_intf_pin [lindex $arguments 0]]
        set name [given $options -name [file tail $pin]_0]
        dict set bd nets $pin $name
        dict set bd external $name 1
        note external $name
    }

    # ---- addresses, validation ------------------------------------------------------------------------------------------------

    command assign_bd_address {
        -target_address_space value -offset value -range value -boundary flag -external flag -force flag -with_name value
        -import_from_file value -export_to_file value
    } 0 1 {
        variable bd
        set space [name_of bd_addr_space [need assign_bd_address $options -target_address_space]]
        set segment [name_of bd_addr_seg [lindex $arguments 0]]
        set offset [need assign_bd_address $options -offset]
        set range [need assign_bd_address $options -range]
        if {![string is integer -strict $offset] || ![regexp {^(\d+)([KMG]?)$} $range -> size unit]} {
            refuse "assign_bd_address: an address and a size such as 64K, $offset and $range came"
        }
        set size [expr {$size << [dict get {{} 0 K 10 M 20 G 30} $unit]}]
        if {$offset % $size} {
            refuse "assign_bd_address: $offset is no multiple of $range"
        }
        dict for {other place} [dict get $bd segments] {
            lassign $place other_space first last
            if {$other_space eq $space && $offset <= $last && $first <= $offset + $size - 1} {
                refuse "assign_bd_address: $segment lies on [lindex $other 1]"
            }
        }
        set last [expr {$offset + $size - 1}]
        if {[string match processing_system7 [lindex [split [dict get $bd cells [lindex [split $space /] 0] vlnv] :] 2]]
                && ($offset < 0x40000000 || $last >= 0x80000000)} {
            refuse "assign_bd_address: M_AXI_GP0 reaches 0x40000000 to 0x7FFFFFFF, not $offset"
        }
        dict set bd segments [list $space $segment] [list $space $offset $last]
        note address $space $segment [format 0x%08X $offset] $range
    }

    # Every clock, reset and interface that must lead somewhere does, and each AXI register block has an address.
    proc check_whole {} {
        variable bd
        dict for {cell facts} [dict get $bd cells] {
            dict for {pin spec} [dict get $facts pins] {
                lassign $spec kind mode type needed
                if {$needed && ![connected $cell/$pin]} {
                    refuse "validate_bd_design: $cell/$pin is not connected"
                }
            }
        }
        set addressed [lmap key [dict keys [dict get $bd segments]] { lindex $key 1 }]
        foreach {name port} [dict get $bd ports] {
            if {![connected $name]} { refuse "validate_bd_design: port $name is not connected" }
            if {[dict get $port type] eq "aximm" && $name ni $addressed} {
                refuse "validate_bd_design: $name has no address"
            }
        }
        dict for {cell facts} [dict get $bd cells] {
            if {[lindex [split [dict get $facts vlnv] :] 2] in {smartconnect axi_interconnect}} continue
            dict for {pin spec} [dict get $facts pins] {
                lassign $spec kind mode type
                if {$mode eq "Slave" && $type eq "aximm" && ![string match rp_* $pin] && "$cell/$pin" ni $addressed
                        && ![string match s_registers $pin]} {
                    refuse "validate_bd_design: $cell/$pin has no address"
                }
            }
        }
    }

    command validate_bd_design {-force flag -design value -include_pfm flag} 0 0 {
        variable bd
        bd validate_bd_design
        check_whole
        dict set bd valid 1
    }

    command save_bd_design {} 0 1 {
        variable bd
        bd save_bd_design
        if {![dict exists $bd valid]} {
            refuse "save_bd_design: validate it first"
        }
        dict set bd saved 1
    }
}
