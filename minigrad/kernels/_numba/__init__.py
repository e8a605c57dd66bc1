"""The Numba engine: the tiles of every convolution, written as vector instructions.

Read in this order:

    windows    which taps an output has, and where they read: plain Python, no Numba
    vectors    loads, stores and fused multiply-adds on vectors, as LLVM instructions
    launch     compiling, caching, and running a kernel on several threads
    depthwise  lanes and accumulators of a depthwise sum, in all three directions
    matrix     the same for every sum that mixes channels

Only ``windows`` may be imported without Numba.
"""
