# What Vivado takes (UG835, UG912): properties, projects, files, IPs. Block designs are in block_design.tcl, synthesis,
# implementation and constraints in implementation.tcl.

namespace eval ::recorder {
    variable project {}
    variable design {}
    variable pblocks {}

    source [file join $::recorder::folder block_design.tcl]

    # Properties that can be set and read, by class.
    variable properties {
        project {
            ip_repo_paths text part text board_part text target_language one:Verilog|VHDL default_lib text
            DIRECTORY readonly NAME readonly
        }
        file {
            synth_checkpoint_mode one:None|Singular|Hierarchical generate_synth_checkpoint bool is_enabled bool
            used_in text used_in_synthesis bool used_in_implementation bool file_type text
        }
        design {
            BITSTREAM.GENERAL.COMPRESS one:TRUE|FALSE|True|False BITSTREAM.GENERAL.CRC one:ENABLE|DISABLE|Enable|Disable
            BITSTREAM.GENERAL.PERFRAMECRC one:YES|NO BITSTREAM.GENERAL.DEBUGBITSTREAM one:YES|NO
            BITSTREAM.CONFIG.USERID text BITSTREAM.ENCRYPTION.ENCRYPT one:YES|NO
        }
        pblock {
            RESET_AFTER_RECONFIG bool SNAPPING_MODE one:ON|OFF|ROUTING|NESTED CONTAIN_ROUTING bool EXCLUDE_PLACEMENT bool
            IS_SOFT bool PARTPIN_SPREADING whole:0:100 GRID_RANGES readonly DERIVED_RANGES readonly
        }
        cell {
            HD.RECONFIGURABLE bool HD.PARTPIN_RANGE text DONT_TOUCH bool KEEP_HIERARCHY text BLACK_BOX bool
            IS_BLACKBOX readonly REF_NAME readonly
        }
        timing_path { SLACK readonly REQUIREMENT readonly GROUP readonly }
        fileset { top text }
    }

    proc project {name} {
        variable project
        if {![dict exists $project name]} {
            refuse "$name: no project is open"
        }
        return $project
    }

    proc design {name} {
        variable design
        if {![dict exists $design top]} {
            refuse "$name: no design is open"
        }
        return $design
    }

    proc reached {name step} {
        if {![dict exists [design $name] $step]} {
            refuse "$name: the design is not $step"
        }
    }

    proc existing {name file} {
        if {![file isfile $file]} {
            refuse "$name: there is no file $file"
        }
        return $file
    }

    # Every instance of a Verilog file, and the modules that it defines: {modules {...} instances {name module ...}
    # pins {...}}, the last ones of the block design's wrapper.
    proc verilog_of {file} {
        set stream [open $file]
        set text [read $stream]
        close $stream
        set modules {}
        set instances {}
        set pins {}
        if {[regexp {\n(\w+_wrapper) \w+ \(([^;]*)\);} $text -> wrapper connections]} {
            foreach {-> pin} [regexp -all -inline {\.(\w+)\(} $connections] { lappend pins $pin }
        }
        foreach {-> module} [regexp -all -inline -line {^module (\w+) } $text] { lappend modules $module }
        foreach {-> module name} [regexp -all -inline -line {^(\w+) (\w+) \($} $text] {
            if {$module ne "module"} { dict set instances $name $module }
        }
        return [dict create modules $modules instances $instances pins $pins]
    }

    # ---- properties -----------------------------------------------------------------------------------------------------

    proc kind_of_property {class name} {
        variable properties
        if {![dict exists $properties $class $name]} {
            refuse "a $class has no property $name"
        }
        return [dict get $properties $class $name]
    }

    proc put_property {object name value} {
        set class [class_of $object]
        if {$class in {bd_cell bd_port bd_intf_port ip}} {
            return [put_config $class $object $name $value]
        }
        check_value "$class property $name" [kind_of_property $class $name] $value
        if {$class eq "project" && $name eq "ip_repo_paths"} {
            variable project
            dict set project repositories $value
        }
        if {$class eq "cell" && $name eq "HD.RECONFIGURABLE"} {
            variable design
            dict set design reconfigurable 1
        }
    }

    command set_property {-dict value -name value -value value -objects value} 1 3 {
        if {[dict exists $options -dict]} {
            set settings [dict get $options -dict]
            set objects [lindex $arguments 0]
            if {[llength $settings] % 2 || [llength $arguments] != 1} {
                refuse "set_property -dict takes pairs, then the objects"
            }
        } else {
            if {[llength $arguments] != 3} {
                refuse "set_property takes a name, a value and the objects"
            }
            lassign $arguments name value objects
            set settings [list $name $value]
        }
        if {![llength $objects]} {
            refuse "set_property: no objects"
        }
        foreach object $objects {
            foreach {name value} $settings {
                put_property $object $name $value
            }
            if {[class_of $object] eq "bd_cell"} {
                work_out_pins [name_of bd_cell $object]
            }
        }
    }

    command get_property {-min flag -max flag} 2 2 {
        variable project
        lassign $arguments name object
        set class [class_of $object]
        kind_of_property $class $name
        switch $class.$name {
            project.DIRECTORY { return [dict get $project folder] }
            timing_path.SLACK { return [expr {[info exists ::env(RECORDER_SLACK)] ? $::env(RECORDER_SLACK) : 0.25}] }
            default { return $name }
        }
    }

    # ---- projects and files -------------------------------------------------------------------------------------------------

    command create_project {-part value -force flag -in_memory flag -ip flag -rtl_kernel flag} 0 2 {
        variable project
        if {[dict exists $project name]} {
            refuse "create_project: project [dict get $project name] is still open"
        }
        if {![regexp {^xc7z0\d\d[a-z]{3}\d{3}-[123]$} [need create_project $options -part]]} {
            refuse "create_project: there is no part [dict get $options -part]"
        }
        lassign $arguments name folder
        file mkdir $folder
        set project [dict create name $name folder [file normalize $folder] files {} part [dict get $options -part]]
        note project $name
    }

    command close_project {-delete flag} 0 0 {
        variable project
        variable design
        if {![dict exists $project name] && ![dict exists $design top]} {
            refuse "close_project: no project is open"
        }
        set project {}
        set design {}
    }

    command close_design {} 0 0 {
        variable design
        design close_design
        set design {}
    }

    command current_project {} 0 1 { return [object project [dict get [project current_project] name]] }
    command current_design {} 0 1 { return [object design [dict get [design current_design] top]] }
    command current_fileset {-simset flag -constrset flag -blockset flag} 0 1 {
        project current_fileset
        return [object fileset sources_1]
    }

    command update_ip_catalog {
        -rebuild flag -add_ip value -delete_ip value -disable_ip value -enable_ip value -repo_path value
        -scan_changes flag -create_index flag
    } 0 0 {
        foreach folder [dict get [project update_ip_catalog] repositories] {
            if {![file isdirectory $folder]} {
                refuse "update_ip_catalog: there is no folder $folder"
            }
            add_exported_ips $folder
        }
    }

    command add_files {
        -fileset value -of_objects value -norecurse flag -copy_to value -force flag -scan_for_includes flag
    } 1 -1 {
        variable project
        project add_files
        foreach file [concat {*}$arguments] {
            dict set project files [existing add_files $file] 1
        }
    }

    command update_compile_order {-fileset sources_1|constrs_1|sim_1 -force_gui flag} 0 0 { project update_compile_order }

    command get_files {
        -regexp flag -nocase flag -filter value -compile_order value -used_in value -of_objects value -all flag
        -norecurse flag
    } 0 1 {
        variable project
        project get_files
        set name [lindex $arguments 0]
        foreach file [dict keys [dict get $project files]] {
            if {[file tail $file] eq $name || $file eq $name} {
                return [object file $file]
            }
        }
        refuse "get_files: the project has no file $name"
    }

    command create_ip {
        -vlnv value -vendor value -library value -name value -version value -module_name value -dir value -force flag
    } 0 0 {
        variable project
        variable ips
        project create_ip
        set vlnv [need create_ip $options -vlnv]
        if {![dict exists $ips $vlnv]} {
            refuse "create_ip: there is no IP $vlnv"
        }
        set name [need create_ip $options -module_name]
        dict set project files $name.xci 1
        dict set project ips $name $vlnv
        return [object ip $name]
    }

    command get_ips {-regexp flag -nocase flag -filter value -all flag -of_objects value -exclude_bd_ips flag} 0 1 {
        set name [lindex $arguments 0]
        if {![dict exists [project get_ips] ips $name]} {
            refuse "get_ips: the project has no IP $name"
        }
        return [object ip $name]
    }

    command generate_target {-force flag} 2 2 {
        variable project
        lassign $arguments targets objects
        foreach target $targets {
            if {$target ni {all synthesis simulation implementation instantiation_template example}} {
                refuse "generate_target: there is no target $target"
            }
        }
        foreach object $objects {
            if {[class_of $object] eq "file" && [file extension [name_of file $object]] eq ".bd"} {
                set name [file rootname [file tail [name_of file $object]]]
                if {![is_valid $name]} {
                    refuse "generate_target: block design $name has not been validated and saved"
                }
                set folder [file join [dict get $project folder] [dict get $project name].gen sources_1 bd $name hw_handoff]
                file mkdir $folder
                close [open [file join $folder $name.hwh] w]
            } elseif {[class_of $object] ni {file ip}} {
                refuse "generate_target: $object"
            }
            dict set project generated [lindex [split $object @] 1] 1
        }
    }

    command make_wrapper {
        -top flag -testbench flag -inst_template flag -fileset value -import flag -force flag -files value -name value
    } 0 0 {
        variable project
        project make_wrapper
        set name [file rootname [file tail [name_of file [need make_wrapper $options -files]]]]
        need make_wrapper $options -top
        need make_wrapper $options -import
        dict set project files ${name}_wrapper.v 1
        dict set project wrapper ${name}_wrapper
    }

    source [file join $::recorder::folder implementation.tcl]
}
