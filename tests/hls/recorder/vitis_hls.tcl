# What Vitis HLS takes (UG1399), and the files it would leave: an exported IP is a small file that says its identity and
# ports, which the recorder of Vivado reads as that would read component.xml.

namespace eval ::recorder {
    variable hls {}

    # A source with everything that it includes by quotes.
    proc hls_text {source folders} {
        if {![file isfile $source]} {
            refuse "there is no file $source"
        }
        set stream [open $source]
        set text [read $stream]
        close $stream
        foreach {-> name} [regexp -all -inline -line {^#include "([^"]+)"} $text] {
            foreach folder $folders {
                if {[file isfile [file join $folder $name]]} {
                    append text [hls_text [file join $folder $name] $folders]
                }
            }
        }
        return $text
    }

    # The streams of a top function, as its IP calls them: Vitis HLS renames ports that are words of VHDL.
    proc hls_streams {text top} {
        if {![regexp "\\y[set top]\\s*\[(,\]" $text]} {
            refuse "the source has no function $top"
        }
        set streams {}
        foreach {-> name} [regexp -all -inline {INTERFACE\s+axis\s+port\s*=\s*(\w+)} $text] {
            dict set streams [expr {$name in {in out} ? "${name}_r" : $name}] 1
        }
        return [dict keys $streams]
    }

    proc in_project {name} {
        variable hls
        if {![dict exists $hls project]} {
            refuse "$name: no project is open"
        }
    }

    proc in_solution {name} {
        variable hls
        in_project $name
        if {![dict exists $hls solution]} {
            refuse "$name: no solution is open"
        }
    }

    command open_project {-reset flag -diagnostics flag} 1 1 {
        variable hls
        if {[dict exists $hls project]} {
            refuse "open_project: [dict get $hls project] is still open"
        }
        set hls [dict create project [lindex $arguments 0]]
    }

    command close_project {} 0 0 {
        variable hls
        in_project close_project
        set hls {}
    }

    command set_top {} 1 1 {
        variable hls
        in_project set_top
        dict set hls top [lindex $arguments 0]
    }

    command add_files {-cflags value -csimflags value -tb flag -blackbox value} 1 1 {
        variable hls
        in_project add_files
        set folders {}
        foreach flag [given $options -cflags] {
            if {[regexp {^-I(.+)$} $flag -> folder] && [file isdirectory $folder]} {
                lappend folders $folder
            } elseif {![regexp {^-std=c\+\+(0x|11|14|17)$|^-D\w+(=\w+)?$} $flag]} {
                refuse "add_files: no flag, or no folder to include from: $flag"
            }
        }
        dict set hls source [hls_text [lindex $arguments 0] $folders]
    }

    command open_solution {-reset flag -flow_target vivado|vitis} 1 1 {
        variable hls
        in_project open_solution
        dict set hls solution [lindex $arguments 0]
    }

    command set_part {-board value -tool value} 1 1 {
        variable hls
        in_solution set_part
        if {![regexp {^xc7z0\d\d[a-z]{3}\d{3}-[123]$} [lindex $arguments 0]]} {
            refuse "set_part: there is no part [lindex $arguments 0]"
        }
        dict set hls part [lindex $arguments 0]
    }

    command create_clock {-name value -period value} 0 0 {
        variable hls
        in_solution create_clock
        check_value "create_clock -period" real:1:100 [need create_clock $options -period]
        dict set hls clock 1
    }

    command csynth_design {-dump_cfg flag -dump_post_cfg flag -synthesis_check flag} 0 0 {
        variable hls
        in_solution csynth_design
        foreach needed {top source part clock} {
            if {![dict exists $hls $needed]} {
                refuse "csynth_design: no $needed has been set"
            }
        }
        dict set hls synthesised 1
    }

    command export_design {
        -format ip_catalog|xo|syn_dcp|sysgen -rtl verilog|vhdl -flow none|syn|impl -vendor value -library value
        -version value -ipname value -description value -display_name value -taxonomy value -output value
        -evaluate value -xo value -acc flag
    } 0 0 {
        variable hls
        in_solution export_design
        if {![dict exists $hls synthesised]} {
            refuse "export_design: csynth_design has not run"
        }
        need export_design $options -format
        if {![regexp {^\d+\.\d+(\.\d+)?$} [given $options -version 1.0]]} {
            refuse "export_design -version must be numbers and dots, [given $options -version] came"
        }
        set identity [join [list [given $options -vendor xilinx.com] [given $options -library hls] \
            [given $options -ipname [dict get $hls top]] [given $options -version 1.0]] :]
        set folder [file join [dict get $hls project] [dict get $hls solution] impl ip]
        file mkdir $folder
        set stream [open [file join $folder component.xml] w]
        puts $stream [list $identity [hls_streams [dict get $hls source] [dict get $hls top]]]
        close $stream
        note kernel $identity
    }
}
