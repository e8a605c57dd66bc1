"""Networks of others: ONNX and TFLite files, read without a library of theirs.

==========================  =========================================================
wire, flatbuffer            the two ways in which such files are written
data                        networks as plain data
onnx_file, onnx_tensors     an ONNX file as plain data
tflite_file, tflite_schema  a TFLite file as plain data
==========================  =========================================================

A file is untrusted input, as a file of weights is: one sentence, little time and memory.
"""
