"""From an ONNX file to a topology and parameters: quantisation, then reading of the quantised graph.

`convoy_controller.importer` is the way in; nothing else imports from here.
"""
