"""From an ONNX file to a topology and parameters, in five steps that each have a module.

`loading` reads the file within bounds, `simplifying` leaves what has a layer (with `draft`, `ending`, `folding`,
`shaping` and `merging`), `quantising` makes it int8, `graph` reads that (with `operators` and its kin), `agreement`
compares the result with onnxruntime. `convoy_controller.importer` is the way in; nothing else imports from here.
"""
