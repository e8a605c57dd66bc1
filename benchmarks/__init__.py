"""Measurements: ``python -m benchmarks.layers`` and ``python -m benchmarks.startup``.

work      a layer as arrays, its FLOPs, and what a right answer is
timing    interleaved bursts, medians
machine   the FMA peak and the bandwidth that a result is held against
ours      minigrad's backends as engines
peers     ONNX Runtime, OpenVINO, LiteRT and PyTorch as engines
formats   one-layer ONNX and TFLite models, written by hand
report    rows, tables, summary
"""
