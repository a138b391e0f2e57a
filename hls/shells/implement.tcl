# Vivado: synthesis, placement, routing and bitstreams of a shell, with and without partitions.
#
# With partitions it is the flow of Dynamic Function eXchange without runs: the static design with empty partitions,
# each module out of context, then one configuration after another. The first places and routes the static design, the
# others keep it as it is.
# Not yet run on Vivado.

proc say {text} {
    puts "convoy: $text"
}

# The design's products, its wrapper and, for PYNQ, its hardware handoff.
proc generate_system {plan} {
    set design [get_files system.bd]
    set_property synth_checkpoint_mode None $design
    generate_target all $design
    make_wrapper -files $design -import -top
    set shell [dict get $plan shell]
    set folder [get_property DIRECTORY [current_project]]
    file copy -force [file join $folder $shell.gen sources_1 bd system hw_handoff system.hwh] $shell.hwh
}

proc synthesise_static {plan} {
    say "synthesis of the static design"
    add_files -norecurse [dict get $plan top_file]
    update_compile_order -fileset sources_1
    synth_design -top [dict get $plan top] -part [dict get $plan part]
    write_checkpoint -force static.dcp
    close_design
}

# A module is a kernel in the ports of one partition. Each has a project of its own, since an IP needs one.
proc synthesise_module {plan partition kernel} {
    set module [dict get $plan partitions $partition module]
    set name ${partition}_[dict get $kernel cell]
    create_project -force -part [dict get $plan part] $name modules/$name
    set_property ip_repo_paths [dict get $plan kernel_folder] [current_project]
    update_ip_catalog
    create_ip -vlnv [dict get $kernel vlnv] -module_name kernel
    set_property generate_synth_checkpoint false [get_files kernel.xci]
    generate_target all [get_ips kernel]
    add_files -norecurse [dict get $plan module_files $partition]
    update_compile_order -fileset sources_1
    synth_design -top $module -part [dict get $plan part] -mode out_of_context
    write_checkpoint -force modules/$name.dcp
    close_project
}

proc synthesise_modules {plan} {
    set done 0
    set all [expr {[dict size [dict get $plan partitions]] * [llength [dict get $plan kernels]]}]
    foreach partition [dict keys [dict get $plan partitions]] {
        foreach kernel [dict get $plan kernels] {
            say "synthesis of module [incr done]/$all: [dict get $kernel name] for $partition"
            synthesise_module $plan $partition $kernel
        }
    }
}

proc check_timing_met {what} {
    set slack [get_property SLACK [get_timing_paths -max_paths 1 -nworst 1 -setup]]
    if {$slack < 0} {
        error "convoy: $what misses its clock by [expr {-$slack}] ns: see its report"
    }
}

proc place_and_route {what} {
    opt_design
    place_design
    phys_opt_design
    route_design
    report_timing_summary -file $what.timing.txt
    report_utilization -file $what.utilization.txt
    check_timing_met $what
}

# The board's checker takes plain images only: not compressed, with a CRC.
proc plain_bitstreams {} {
    set_property BITSTREAM.GENERAL.COMPRESS FALSE [current_design]
    set_property BITSTREAM.GENERAL.CRC ENABLE [current_design]
}

proc implement_fixed {plan} {
    set shell [dict get $plan shell]
    say "placement and routing of $shell"
    place_and_route $shell
    plain_bitstreams
    write_bitstream -force $shell.bit
}

proc load_modules {plan kernel} {
    foreach partition [dict keys [dict get $plan partitions]] {
        read_checkpoint -cell [get_cells $partition] modules/${partition}_[dict get $kernel cell].dcp
    }
}

proc empty_partitions {plan} {
    foreach partition [dict keys [dict get $plan partitions]] {
        update_design -cells [get_cells $partition] -black_box
    }
}

# What Vivado made of the pblocks. Where this is not the floorplan's, its columns must be changed: the checker on the
# boards allows those and no others.
proc report_regions {plan} {
    dict for {name partition} [dict get $plan partitions] {
        say "partition $name asked for: [dict get $partition sites]"
        say "partition $name got: [get_property DERIVED_RANGES [get_pblocks [dict get $partition pblock]]]"
    }
}

# The first configuration, which decides where the static design lies; then that alone, locked.
proc implement_first {plan kernel} {
    set name [dict get $kernel name]
    open_checkpoint static.dcp
    load_modules $plan $kernel
    read_xdc [dict get $plan constraints]
    report_regions $plan
    place_and_route $name
    write_checkpoint -force $name.dcp
    write_modules $plan $kernel
    empty_partitions $plan
    lock_design -level routing
    write_checkpoint -force locked.dcp
    close_project
}

proc implement_next {plan kernel first} {
    set name [dict get $kernel name]
    open_checkpoint locked.dcp
    load_modules $plan $kernel
    place_and_route $name
    write_checkpoint -force $name.dcp
    close_project
    pr_verify -initial $first.dcp -additional $name.dcp
    open_checkpoint $name.dcp
    write_modules $plan $kernel
    close_project
}

proc write_modules {plan kernel} {
    plain_bitstreams
    foreach partition [dict keys [dict get $plan partitions]] {
        file mkdir $partition
        write_bitstream -force -cell $partition [file join $partition [dict get $kernel name].bit]
    }
}

# The shell's own image: partitions that hold nothing but the ends of their wires.
proc implement_blank {plan first} {
    set shell [dict get $plan shell]
    open_checkpoint locked.dcp
    foreach partition [dict keys [dict get $plan partitions]] {
        update_design -cells [get_cells $partition] -buffer_ports
    }
    place_and_route $shell
    write_checkpoint -force $shell.dcp
    close_project
    pr_verify -initial $first.dcp -additional $shell.dcp
    open_checkpoint $shell.dcp
    plain_bitstreams
    write_bitstream -force -no_partial_bitfile $shell.bit
    close_project
}

proc implement_partitions {plan} {
    set kernels [dict get $plan kernels]
    set count [expr {[llength $kernels] + 1}]
    set first [dict get [lindex $kernels 0] name]
    set done 0
    foreach kernel $kernels {
        say "configuration [incr done]/$count: [dict get $kernel name] in every partition"
        if {$done == 1} {
            implement_first $plan $kernel
        } else {
            implement_next $plan $kernel $first
        }
    }
    say "configuration $count/$count: empty partitions"
    implement_blank $plan $first
}
