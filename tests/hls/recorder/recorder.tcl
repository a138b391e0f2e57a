# Runs a script of Vivado's or Vitis HLS' without either: every command it calls is checked against what the tool takes,
# and is remembered instead of carried out.
#
#   tclsh recorder.tcl vivado|vitis_hls SCRIPT RECORD
#
# Unknown commands, options, properties, values, cells, pins, files: an error that names file and line, and exit code 1.
# RECORD gets what was made, a line each. What the tools know is in vivado.tcl, vitis_hls.tcl and catalogue.tcl; it comes
# from their documentation (UG835, UG912, UG1399, the IPs' product guides), not from the scripts under test.

namespace eval ::recorder {
    variable commands {}
    variable starts {}
    variable record {}
    variable folder [file dirname [file normalize [info script]]]

    # ---- where in the script we are ---------------------------------------------------------------------------------

    # File and line of each frame that is the script's own, the innermost first.
    proc place {} {
        variable folder
        variable starts
        set places {}
        for {set level [info frame]} {$level > 0} {incr level -1} {
            set frame [info frame $level]
            if {[dict exists $frame proc] && [dict exists $starts [namespace tail [dict get $frame proc]]]
                    && [dict get $frame type] eq "proc"} {
                lassign [dict get $starts [namespace tail [dict get $frame proc]]] file start
                lappend places [file tail $file]:[expr {$start + [dict get $frame line] - 1}]
            } elseif {[dict exists $frame file] && [file dirname [dict get $frame file]] ne $folder} {
                lappend places [file tail [dict get $frame file]]:[dict get $frame line]
            }
        }
        return [join $places " from "]
    }

    proc refuse {text} {
        return -code error -errorcode RECORDER "[place]: $text"
    }

    proc note {args} {
        variable record
        lappend record $args
    }

    # ---- commands ---------------------------------------------------------------------------------------------------

    # Declares a command of the tool: its options (a flag, or `value`, or the values allowed separated by bars), how many
    # arguments it takes besides (least most; -1: any number), and what it does here, called with a dictionary of the
    # options and a list of the arguments.
    proc command {name options least most body} {
        variable commands
        dict set options -quiet flag
        dict set options -verbose flag
        dict set commands $name [dict create options $options least $least most $most]
        proc ::recorder::do_$name {options arguments} $body
        interp alias {} ::$name {} ::recorder::call $name
    }

    proc call {name args} {
        variable commands
        set spec [dict get $commands $name]
        set options {}
        set arguments {}
        while {[llength $args]} {
            set args [lassign $args word]
            if {![regexp {^-[a-zA-Z_]} $word] || [string is double -strict $word]} {
                lappend arguments $word
                continue
            }
            if {![dict exists $spec options $word]} {
                refuse "$name has no option $word"
            }
            set kind [dict get $spec options $word]
            if {$kind eq "flag"} {
                dict set options $word 1
                continue
            }
            if {![llength $args]} {
                refuse "$name $word needs a value"
            }
            set args [lassign $args value]
            if {$kind ne "value" && $value ni [split $kind |]} {
                refuse "$name $word must be one of $kind, $value came"
            }
            dict set options $word $value
        }
        set count [llength $arguments]
        if {$count < [dict get $spec least] || ([dict get $spec most] >= 0 && $count > [dict get $spec most])} {
            refuse "$name takes [dict get $spec least] to [dict get $spec most] arguments, $count came: $arguments"
        }
        return [do_$name $options $arguments]
    }

    # The value of an option that a command cannot do without.
    proc need {name options option} {
        if {![dict exists $options $option]} {
            refuse "$name needs $option"
        }
        return [dict get $options $option]
    }

    proc given {options option {otherwise ""}} {
        return [expr {[dict exists $options $option] ? [dict get $options $option] : $otherwise}]
    }

    # ---- objects: what the tool's get_ commands return, `class@name`, so that one class is not taken for another --------

    proc object {class name} { return $class@$name }

    proc name_of {class object} {
        if {![regexp {^([a-z_]+)@(.*)$} $object -> found name] || $found ne $class} {
            refuse "an object of class $class is needed, $object came"
        }
        return $name
    }

    proc class_of {object} {
        if {![regexp {^([a-z_]+)@} $object -> class]} {
            refuse "an object is needed, $object came"
        }
        return $class
    }

    # ---- values ---------------------------------------------------------------------------------------------------------

    # Whether a value is of a kind: bool, whole:LEAST:MOST, real:LEAST:MOST, one:A|B|C, text, readonly.
    proc check_value {what kind value} {
        lassign [split $kind :] type least most
        switch $type {
            bool { set fits [expr {[string tolower $value] in {0 1 true false}}] }
            whole { set fits [expr {[string is integer -strict $value] && $value >= $least && $value <= $most}] }
            real { set fits [expr {[string is double -strict $value] && $value >= $least && $value <= $most}] }
            one { set fits [expr {$value in [split [string range $kind 4 end] |]}] }
            text { set fits 1 }
            readonly { refuse "$what cannot be set" }
            default { error "recorder: kind $kind" }
        }
        if {!$fits} {
            refuse "$what must be $kind, $value came"
        }
    }

    # ---- running --------------------------------------------------------------------------------------------------------

    # Where each procedure of the script begins, for errors that Tcl itself raises in one.
    proc follow_procedures {} {
        rename ::proc ::recorder::proc_of_tcl
        ::recorder::proc_of_tcl ::proc {name arguments body} {
            set frame [info frame -1]
            if {[dict exists $frame file]} {
                dict set ::recorder::starts $name [list [dict get $frame file] [dict get $frame line]]
            }
            uplevel 1 [list ::recorder::proc_of_tcl $name $arguments $body]
        }
    }

    # An error of Tcl's own has no place in its message; its trace tells.
    proc located {message trace} {
        variable starts
        if {[regexp {\(procedure "([^"]+)" line (\d+)\)} $trace -> name line] && [dict exists $starts $name]} {
            lassign [dict get $starts $name] file start
            return "[file tail $file]:[expr {$start + $line - 1}]: $message"
        }
        if {[regexp {\(file "([^"]+)" line (\d+)\)} $trace -> file line]} {
            return "[file tail $file]:$line: $message"
        }
        return $message
    }

    proc finish {code} {
        variable record
        variable output
        set stream [open $output w]
        foreach line $record {
            puts $stream $line
        }
        close $stream
        ::recorder::exit_of_tcl $code
    }

    proc run {tool script} {
        variable folder
        source [file join $folder catalogue.tcl]
        source [file join $folder $tool.tcl]
        rename ::exit ::recorder::exit_of_tcl
        ::proc ::exit {{code 0}} { ::recorder::finish $code }
        ::proc ::unknown {args} { ::recorder::refuse "there is no command [lindex $args 0]" }
        follow_procedures
        if {[catch {uplevel #0 [list source $script]} message options]} {
            if {[dict get $options -errorcode] ne "RECORDER"} {
                set message [located $message [dict get $options -errorinfo]]
            }
            puts stderr $message
            ::recorder::exit_of_tcl 1
        }
        puts stderr "[file tail $script]: the script did not end with exit"
        ::recorder::exit_of_tcl 1
    }
}

lassign $argv tool script recorder::output
recorder::run $tool $script
