"""Numbers that exp, log, tanh and the sigmoid are made of, for ext/ and for Numba.

The polynomials and tables were made by ext/coefficients.py, as hexadecimal numbers, which are
exact.  Like ``tables`` this file imports nothing of ours and not NumPy: setup.py writes them to
the header that ext/vmath.h includes, where the formulas and their errors stand.
"""

from __future__ import annotations

__all__ = ["POLYNOMIALS"]

# For each element type, lowest power first:
#     EXP     (e^r - 1 - r) / r^2 for |r| <= ln(2)/2
#     SHORT   the same for |r| <= ln(2)/16
#     ROOTS   2^(j/8), j = 0 ... 7
#     LOG     (2 atanh(s) / s - 2) / s^2, in s^2
#     LN2     ln 2 as high + low, of which high times a whole number is exact
#     EIGHTH  an eighth of ln 2 in the same way
POLYNOMIALS = {
    "f32": {
        "EXP": [
            "0x1p-1",
            "0x1.5554dcp-3",
            "0x1.55551ap-5",
            "0x1.120b76p-7",
            "0x1.6d111p-10",
        ],
        "SHORT": [
            "0x1.00052p-1",
            "0x1.55596ep-3",
        ],
        "ROOTS": [
            "0x1p0",
            "0x1.172b84p0",
            "0x1.306fep0",
            "0x1.4bfdaep0",
            "0x1.6a09e6p0",
            "0x1.8ace54p0",
            "0x1.ae89fap0",
            "0x1.d5818ep0",
        ],
        "LOG": [
            "0x1.555556p-1",
            "0x1.9999ecp-2",
            "0x1.245c08p-2",
            "0x1.dddbaap-3",
        ],
        "LN2": [
            "0x1.62e4p-1",
            "0x1.7f7d1cp-20",
        ],
        "EIGHTH": [
            "0x1.62ep-4",
            "0x1.0bfbe8p-18",
        ],
    },
    "f64": {
        "EXP": [
            "0x1.0000000000001p-1",
            "0x1.5555555555556p-3",
            "0x1.5555555553d7ep-5",
            "0x1.11111111109bbp-7",
            "0x1.6c16c17884cf8p-10",
            "0x1.a01a01a7bfc8fp-13",
            "0x1.a019b9203cd48p-16",
            "0x1.71de0dba1f5p-19",
            "0x1.2891761619dcep-22",
            "0x1.af3896df537eep-26",
        ],
        "SHORT": [
            "0x1.000000000002fp-1",
            "0x1.555555555556ap-3",
            "0x1.5555554e8f77dp-5",
            "0x1.1111110e0e76dp-7",
            "0x1.6c1b72a6dd17dp-10",
            "0x1.a01e2d6166846p-13",
        ],
        "ROOTS": [
            "0x1p0",
            "0x1.172b83c7d517bp0",
            "0x1.306fe0a31b715p0",
            "0x1.4bfdad5362a27p0",
            "0x1.6a09e667f3bcdp0",
            "0x1.8ace5422aa0dbp0",
            "0x1.ae89f995ad3adp0",
            "0x1.d5818dcfba487p0",
        ],
        "LOG": [
            "0x1.5555555555555p-1",
            "0x1.9999999999a3ap-2",
            "0x1.24924924766bap-2",
            "0x1.c71c720201bf9p-3",
            "0x1.745cf8bf23ce2p-3",
            "0x1.3b1c43f226a3p-3",
            "0x1.0fbd1232ee60ap-3",
            "0x1.0c135903f19f3p-3",
        ],
        "LN2": [
            "0x1.62e42fefa2p-1",
            "0x1.9ef35793c7673p-41",
        ],
        "EIGHTH": [
            "0x1.62e42fefap-4",
            "0x1.cf79abc9e3b3ap-43",
        ],
    },
}
