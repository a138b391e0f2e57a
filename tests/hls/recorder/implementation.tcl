# What Vivado takes (UG835): synthesis, implementation, bitstreams, constraints.
#
# A design is a dictionary: top, cells (instance to module, of those that may be empty), filled (instance to checkpoint),
# and how far it is (synthesised, reconfigurable, placed, routed, locked). A checkpoint is a file with that dictionary.

namespace eval ::recorder {
    # ---- designs ---------------------------------------------------------------------------------------------------------------

    command synth_design {
        -name value -part value -constrset value -top value -include_dirs value -generic value -verilog_define value
        -flatten_hierarchy rebuilt|full|none -directive value -rtl flag -mode default|out_of_context -retiming flag
        -keep_equivalent_registers flag -no_lc flag -assert flag -max_dsp value -max_bram value -bufg value
    } 0 0 {
        variable project
        variable design
        project synth_design
        set top [need synth_design $options -top]
        set modules {}
        set instances {}
        foreach file [dict keys [dict get $project files]] {
            if {[file isfile $file] && [file extension $file] eq ".v"} {
                set found [verilog_of $file]
                lappend modules {*}[dict get $found modules]
                set instances [dict merge $instances [dict get $found instances]]
                check_wrapper_pins [dict get $found pins]
            }
        }
        if {[dict exists $project wrapper]} {
            lappend modules [dict get $project wrapper]
        }
        if {$top ni $modules} {
            refuse "synth_design: there is no module $top"
        }
        set cells {}
        dict for {name module} $instances {
            if {[dict exists $project ips $module]} {
                if {![dict exists $project generated $module]} {
                    refuse "synth_design: IP $module has no generated products"
                }
            } elseif {$module ni $modules} {
                refuse "synth_design: there is no module $module"
            } elseif {![dict exists $project wrapper] || $module ne [dict get $project wrapper]} {
                dict set cells $name $module
            }
        }
        set context [expr {[given $options -mode default] eq "out_of_context"}]
        set design [dict create top $top cells $cells filled {} synthesised 1 context $context]
        note synth $top {*}[expr {$context ? "out_of_context" : ""}]
    }

    command write_checkpoint {-force flag -cell value -logic_function_stripped flag -encrypt flag -key value} 1 1 {
        set stream [open [lindex $arguments 0] w]
        puts $stream [design write_checkpoint]
        close $stream
        note checkpoint [lindex $arguments 0]
    }

    proc checkpoint {name file} {
        set stream [open [existing $name $file]]
        set found [read $stream]
        close $stream
        return $found
    }

    command open_checkpoint {-part value} 1 1 {
        variable design
        variable project
        if {[dict exists $design top] || [dict exists $project name]} {
            refuse "open_checkpoint: a design or project is still open"
        }
        set design [checkpoint open_checkpoint [lindex $arguments 0]]
    }

    command get_cells {
        -regexp flag -nocase flag -filter value -of_objects value -hierarchical flag -match_style value
        -include_replicated_objects flag
    } 0 1 {
        set name [lindex $arguments 0]
        if {![dict exists [design get_cells] cells $name]} {
            refuse "get_cells: there is no cell $name"
        }
        return [object cell $name]
    }

    command read_checkpoint {-cell value -incremental flag -directive value -auto_incremental flag} 1 1 {
        variable design
        design read_checkpoint
        set cell [name_of cell [need read_checkpoint $options -cell]]
        set module [checkpoint read_checkpoint [lindex $arguments 0]]
        if {![dict get $module context]} {
            refuse "read_checkpoint: [lindex $arguments 0] was not made out of context"
        }
        if {[dict get $module top] ne [dict get $design cells $cell]} {
            refuse "read_checkpoint: cell $cell is a [dict get $design cells $cell], not a [dict get $module top]"
        }
        dict set design filled $cell [lindex $arguments 0]
        dict unset design routed
    }

    command read_xdc {-cells value -ref value -mode out_of_context|default -unmanaged flag -no_add flag} 1 1 {
        design read_xdc
        uplevel #0 [list source [existing read_xdc [lindex $arguments 0]]]
    }

    command update_design {
        -cells value -strict flag -from_file value -from_design value -from_cell value -black_box flag -buffer_ports flag
    } 0 0 {
        variable design
        design update_design
        set how [dict keys [dict remove $options -cells]]
        if {$how ni {-black_box -buffer_ports}} {
            refuse "update_design: -black_box or -buffer_ports"
        }
        foreach cell [need update_design $options -cells] {
            set name [name_of cell $cell]
            dict unset design routed
            if {$how eq "-buffer_ports"} {
                dict set design filled $name buffers
            } else {
                dict unset design filled $name
            }
        }
    }

    command lock_design {-level placement|routing|logical -unlock flag} 0 1 {
        variable design
        if {[llength [dict get [design lock_design] filled]]} {
            refuse "lock_design: a partition is not empty"
        }
        need lock_design $options -level
        dict set design locked 1
    }

    # An implementation step: which one must be done before.
    proc step {name options before} {
        command $name $options 0 0 "
            variable design
            design $name
            if {\[dict size \[dict get \$design cells\]\] != \[dict size \[dict get \$design filled\]\]} {
                refuse {$name: a partition is empty}
            }
            if {\[dict size \[dict get \$design cells\]\] && !\[dict exists \$design reconfigurable\]} {
                refuse {$name: no cell has HD.RECONFIGURABLE}
            }
            if {{$before} ne {} && !\[dict exists \$design done_$before\]} {
                refuse {$name: $before has not run}
            }
            dict set design done_$name 1
            if {{$name} eq {route_design}} { dict set design routed 1 }
        "
    }

    set directive {-directive value}
    step opt_design {-directive value -retarget flag -propconst flag -sweep flag -remap flag -resynth_area flag} {}
    step place_design {-directive value -no_timing_driven flag -timing_summary flag -unplace flag} {}
    step phys_opt_design {-directive value -fanout_opt flag -placement_opt flag -retime flag} place_design
    step route_design {-directive value -unroute flag -nets value -preserve flag -tns_cleanup flag -timing_summary flag} \
        place_design

    command report_timing_summary {
        -file value -append flag -delay_type max|min|min_max -max_paths value -nworst value -warn_on_violation flag
        -no_detailed_paths flag -setup flag -hold flag -return_string flag -name value
    } 0 0 {
        reached report_timing_summary routed
        note report [need report_timing_summary $options -file]
    }

    command report_utilization {-file value -append flag -pblocks value -cells value -hierarchical flag -return_string flag} \
            0 0 {
        design report_utilization
        note report [need report_utilization $options -file]
    }

    command get_timing_paths {
        -from value -to value -through value -delay_type max|min|min_max -setup flag -hold flag -max_paths value
        -nworst value -slack_lesser_than value -group value -filter value
    } 0 0 {
        reached get_timing_paths routed
        foreach option {-max_paths -nworst} {
            check_value "get_timing_paths $option" whole:1:1000000 [given $options $option 1]
        }
        return [object timing_path 1]
    }

    command pr_verify {-full_check flag -file value -initial value -additional value -in_memory flag} 0 -1 {
        set names {}
        foreach file [list [need pr_verify $options -initial] {*}[need pr_verify $options -additional]] {
            set found [checkpoint pr_verify $file]
            if {![dict exists $found routed]} {
                refuse "pr_verify: $file is not routed"
            }
            lappend names $file
        }
        note verified {*}$names
    }

    command write_bitstream {
        -force flag -raw_bitfile flag -no_binary_bitfile flag -mask_file flag -readback_file flag
        -logic_location_file flag -bin_file flag -reference_bitfile value -cell value -no_partial_bitfile flag
    } 1 1 {
        set found [design write_bitstream]
        reached write_bitstream routed
        set what {}
        if {[dict exists $options -cell]} {
            set cell [dict get $options -cell]
            if {![dict exists $found filled $cell]} {
                refuse "write_bitstream: there is no reconfigurable cell $cell"
            }
            set what [list $cell [dict get $found filled $cell]]
        }
        set file [lindex $arguments 0]
        if {![file isdirectory [file dirname $file]]} {
            refuse "write_bitstream: there is no folder [file dirname $file]"
        }
        close [open $file w]
        note bitstream $file {*}$what
    }

    # ---- constraints -------------------------------------------------------------------------------------------------------------

    command create_pblock {} 1 1 {
        variable pblocks
        dict set pblocks [lindex $arguments 0] {}
        return [object pblock [lindex $arguments 0]]
    }

    command get_pblocks {-regexp flag -nocase flag -filter value -of_objects value -include_nested_pblocks flag} 0 1 {
        variable pblocks
        set name [lindex $arguments 0]
        if {![dict exists $pblocks $name]} {
            refuse "get_pblocks: there is no pblock $name"
        }
        return [object pblock $name]
    }

    command add_cells_to_pblock {-top flag -add_primitives flag -clear_locs flag} 2 2 {
        lassign $arguments pblock cells
        note pblock [name_of pblock $pblock] [name_of cell $cells]
    }

    command resize_pblock {-add value -remove value -from value -to value -locs value -replace flag} 1 1 {
        set name [name_of pblock [lindex $arguments 0]]
        foreach range [need resize_pblock $options -add] {
            set site {(SLICE|DSP48|RAMB18|RAMB36)_X(\d+)Y(\d+)}
            if {![regexp "^$site:$site\$" $range -> type left bottom other right top] || $type ne $other
                    || $left > $right || $bottom > $top} {
                refuse "resize_pblock: $range is no range of sites"
            }
            note sites $name $range
        }
    }
}
