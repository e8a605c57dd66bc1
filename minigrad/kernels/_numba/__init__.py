"""The Numba engine: the tiles of every convolution, written as vector instructions.

Read in this order:

    windows    which taps a position has, and where they read: plain Python, no Numba
    vectors    loads, stores and fused multiply-adds on vectors, as LLVM instructions
    cache      compiled kernels on disk, held to a checksum
    launch     compiling, caching, and running a kernel on several threads
    depthwise  T(x, w, g) of one channel each: forward and input gradient
    strip      the same for small windows, a strip of columns at a time
    pixels     and its weight gradient
    matrix     T(x, w, g) of all channels: forward and input gradient
    outer      and its weight gradient
    transpose  putting channels last, and packing weights
    functions  activations, exp and log, lane by lane
    slopes     the input gradients of the activations
    sums       sums, softmax and averages in a fixed order
    norm       BatchNorm, its statistics and its gradient
    pool       the largest and the sum of each window

Of the three arguments of T a kernel fixes the place of one and sums over what the other two
have in common.  ``depthwise``, ``strip`` and ``matrix`` sum over taps, for the place of y or,
with the same code, of x; ``pixels`` and ``outer`` sum over pixels, for the place of w.

Only ``windows`` may be imported without Numba.
"""
