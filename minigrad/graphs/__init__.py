"""Networks of others: ONNX and TFLite files, read without a library of theirs.

==========================  =========================================================
wire, flatbuffer            the two ways in which such files are written
data                        networks as plain data
onnx_file, onnx_tensors     an ONNX file as plain data
tflite_file, tflite_schema  a TFLite file as plain data
mistaken                    files that are taken for one
attributes                  what a node says of itself
onnx_windows                ONNX's convolutions and pools as calls of our ops
onnx_functions              its functions of elements, channels and matrices
onnx_shapes                 its changes of shape
onnx_resizing               its Resize and Upsample
onnx_choices                its truth values, integers and places
onnx_types                  the types of what its operators make
onnx_operators              all of them as a table
onnx_folding                operators on numbers that are known
onnx_steps                  a graph as steps, constants and weights
tflite_layout               where the axes of TFLite's maps are
tflite_operation            what a TFLite node says of itself
tflite_windows              TFLite's convolutions, pools and sizes as calls of our ops
tflite_functions            its functions of elements and rows
tflite_shapes               its changes of shape
tflite_integers             how its integers stand for numbers and are rounded
tflite_quantised            its operators on integers
tflite_moved                its pools, sums and moves of integers
tflite_operators            all of them as tables
tflite_constants            constants as the steps read them
tflite_folding              operators on numbers that are known
tflite_steps                a graph as steps, constants and weights
tensorflow_file             the constants of a frozen TensorFlow graph
imported                    the network as a module, and ``load_graph``
==========================  =========================================================

A file is untrusted input, as a file of weights is: one sentence, little time and memory.

What may be changed: how operators are composed, as long as ONNX's own cases agree
(tests/graphs). A reader takes no more than its limits, whatever a file says.
"""
