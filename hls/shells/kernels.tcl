# Vitis HLS: exports every kernel of a shell as an IP for Vivado's catalogue.
#   CONVOY_PLAN=plan.tcl vitis_hls -f kernels.tcl        in the folder that the projects go to, one a kernel
# Not yet run on Vitis HLS.

source $::env(CONVOY_PLAN)

proc export_kernel {plan kernel} {
    open_project -reset [dict get $kernel name]
    set_top [dict get $kernel top]
    add_files -cflags [dict get $plan cflags] [dict get $kernel source]
    open_solution -reset -flow_target vivado solution
    set_part [dict get $plan part]
    create_clock -period [dict get $plan clock_ns] -name default
    csynth_design
    export_design -format ip_catalog -rtl verilog \
        -vendor [dict get $plan vendor] -library [dict get $plan library] -version [dict get $plan version] \
        -ipname [dict get $kernel top]
    close_project
}

set kernels [dict get $plan kernels]
set done 0
foreach kernel $kernels {
    puts "convoy: kernel [incr done]/[llength $kernels]: [dict get $kernel name]"
    export_kernel $plan $kernel
}
exit
