# Vivado: one shell, from its block design to its bitstreams.
#   CONVOY_PLAN=plan.tcl vivado -mode batch -source shell.tcl        in the folder that the results go to
# Leaves SHELL.bit and SHELL.hwh, and for each partition PARTITION/KIND.bit. Not yet run on Vivado.

set here [file dirname [file normalize [info script]]]
source $::env(CONVOY_PLAN)
source [file join $here board.tcl]
source [file join $here system.tcl]
source [file join $here implement.tcl]

set shell [dict get $plan shell]
set partitions [dict get $plan partitions]
say "block design of $shell"
create_project -force -part [dict get $plan part] $shell project
set_property ip_repo_paths [dict get $plan kernel_folder] [current_project]
update_ip_catalog
build_system $plan
generate_system $plan

if {[dict size $partitions]} {
    synthesise_static $plan
    close_project
    synthesise_modules $plan
    implement_partitions $plan
} else {
    synth_design -top system_wrapper -part [dict get $plan part]
    implement_fixed $plan
    close_project
}
say "$shell is built"
exit
