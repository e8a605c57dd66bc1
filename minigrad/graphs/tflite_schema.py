"""What TFLite's schema says: the operators by number, and the fields of their options.

The schema is tensorflow/lite/schema/schema.fbs.  An option is a name, how it is written, and what
it is where the file has none; those of kind DTYPE, PADDING and ACTIVATION are numbers that stand
for words.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ACTIVATIONS", "DTYPES", "OPERATORS", "OPTIONS", "PADDINGS", "Option"]

OPERATORS = (
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE",
    "DEQUANTIZE", "EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP",
    "L2_NORMALIZATION", "L2_POOL_2D", "LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC", "LSH_PROJECTION",
    "LSTM", "MAX_POOL_2D", "MUL", "RELU", "RELU_N1_TO_1", "RELU6", "RESHAPE", "RESIZE_BILINEAR",
    "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH", "CONCAT_EMBEDDINGS", "SKIP_GRAM", "CALL",
    "CUSTOM", "EMBEDDING_LOOKUP_SPARSE", "PAD", "UNIDIRECTIONAL_SEQUENCE_RNN", "GATHER",
    "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "TRANSPOSE", "MEAN", "SUB", "DIV", "SQUEEZE",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "BIDIRECTIONAL_SEQUENCE_RNN", "EXP", "TOPK_V2",
    "SPLIT", "LOG_SOFTMAX", "DELEGATE", "BIDIRECTIONAL_SEQUENCE_LSTM", "CAST", "PRELU", "MAXIMUM",
    "ARG_MAX", "MINIMUM", "LESS", "NEG", "PADV2", "GREATER", "GREATER_EQUAL", "LESS_EQUAL",
    "SELECT", "SLICE", "SIN", "TRANSPOSE_CONV", "SPARSE_TO_DENSE", "TILE", "EXPAND_DIMS", "EQUAL",
    "NOT_EQUAL", "LOG", "SUM", "SQRT", "RSQRT", "SHAPE", "POW", "ARG_MIN", "FAKE_QUANT",
    "REDUCE_PROD", "REDUCE_MAX", "PACK", "LOGICAL_OR", "ONE_HOT", "LOGICAL_AND", "LOGICAL_NOT",
    "UNPACK", "REDUCE_MIN", "FLOOR_DIV", "REDUCE_ANY", "SQUARE", "ZEROS_LIKE", "FILL", "FLOOR_MOD",
    "RANGE", "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "SQUARED_DIFFERENCE", "MIRROR_PAD", "ABS",
    "SPLIT_V", "UNIQUE", "CEIL", "REVERSE_V2", "ADD_N", "GATHER_ND", "COS", "WHERE", "RANK", "ELU",
    "REVERSE_SEQUENCE", "MATRIX_DIAG", "QUANTIZE", "MATRIX_SET_DIAG", "ROUND", "HARD_SWISH", "IF",
    "WHILE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "SCATTER_ND", "SELECT_V2",
    "DENSIFY", "SEGMENT_SUM", "BATCH_MATMUL", "PLACEHOLDER", "CUMSUM", "CALL_ONCE", "BROADCAST_TO",
    "RFFT2D", "CONV_3D", "IMAG", "REAL", "COMPLEX_ABS", "HASHTABLE", "HASHTABLE_FIND",
    "HASHTABLE_IMPORT", "HASHTABLE_SIZE", "REDUCE_ALL", "CONV_3D_TRANSPOSE", "VAR_HANDLE",
    "READ_VARIABLE", "ASSIGN_VARIABLE", "BROADCAST_ARGS", "RANDOM_STANDARD_NORMAL", "BUCKETIZE",
    "RANDOM_UNIFORM", "MULTINOMIAL", "GELU", "DYNAMIC_UPDATE_SLICE", "RELU_0_TO_1",
    "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM", "ATAN2",
    "UNSORTED_SEGMENT_MIN", "SIGN", "BITCAST", "BITWISE_XOR", "RIGHT_SHIFT",
)  # fmt: skip
CUSTOM, PLACEHOLDER = 32, 127

DTYPES = (
    "float32", "float16", "int32", "uint8", "int64", "text", "bool", "int16", "complex64", "int8",
    "float64", "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4",
    "bfloat16",
)  # fmt: skip
PADDINGS = ("SAME", "VALID")
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
MIRRORS = ("REFLECT", "SYMMETRIC")


class Option(NamedTuple):
    """One field of an operator's options; ``words`` are what its numbers stand for."""

    name: str
    form: str  # as `struct` writes it; "[i" is a vector of int32, "?" a bool
    default: int | float = 0
    words: tuple[str, ...] = ()


def _ints(names: str) -> tuple[Option, ...]:
    return tuple(Option(name, "<i") for name in names.split())


def _bools(names: str) -> tuple[Option, ...]:
    return tuple(Option(name, "?") for name in names.split())


_PADDING = Option("padding", "<b", 0, PADDINGS)
_ACTIVATION = Option("fused_activation_function", "<b", 0, ACTIVATIONS)
_DILATION = (Option("dilation_w_factor", "<i", 1), Option("dilation_h_factor", "<i", 1))
_POT = Option("pot_scale_int16", "?", 1)
_BIAS_TYPE = Option("quantized_bias_type", "<b", 0, DTYPES)
_STRIDES = _ints("stride_w stride_h")
_POOL = (_PADDING, *_STRIDES, *_ints("filter_width filter_height"), _ACTIVATION)
_REDUCE = _bools("keep_dims")
_OUTPUT_TYPE = (Option("output_type", "<b", 0, DTYPES),)
_UNUSED = Option("", "<i")

OPTIONS: dict[str, tuple[Option, ...]] = {
    "CONV_2D": (_PADDING, *_STRIDES, _ACTIVATION, *_DILATION, _BIAS_TYPE),
    "DEPTHWISE_CONV_2D": (
        _PADDING, *_STRIDES, Option("depth_multiplier", "<i"), _ACTIVATION, *_DILATION),
    "TRANSPOSE_CONV": (_PADDING, *_STRIDES, _ACTIVATION, _BIAS_TYPE),
    "FULLY_CONNECTED": (
        _ACTIVATION, Option("weights_format", "<b"),
        *_bools("keep_num_dims asymmetric_quantize_inputs"), _BIAS_TYPE),
    **dict.fromkeys(["AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"], _POOL),
    **dict.fromkeys(["ADD", "SUB"], (_ACTIVATION, _POT)),
    **dict.fromkeys(["MUL", "DIV", "L2_NORMALIZATION"], (_ACTIVATION,)),
    "CONCATENATION": (Option("axis", "<i"), _ACTIVATION),
    "RESHAPE": (Option("new_shape", "[i"),),
    "SQUEEZE": (Option("squeeze_dims", "[i"),),
    "SOFTMAX": (Option("beta", "<f"),),
    "LOCAL_RESPONSE_NORMALIZATION": (
        Option("radius", "<i"), Option("bias", "<f"), Option("alpha", "<f"), Option("beta", "<f")),
    "RESIZE_BILINEAR": (_UNUSED, _UNUSED, *_bools("align_corners half_pixel_centers")),
    "RESIZE_NEAREST_NEIGHBOR": _bools("align_corners half_pixel_centers"),
    **dict.fromkeys(["MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY",
                     "REDUCE_ALL"], _REDUCE),
    "STRIDED_SLICE": (
        *_ints("begin_mask end_mask ellipsis_mask new_axis_mask shrink_axis_mask"),
        *_bools("offset")),
    "PACK": _ints("values_count axis"),
    "UNPACK": _ints("num axis"),
    **dict.fromkeys(["SPLIT", "SPLIT_V"], _ints("num_splits")),
    **dict.fromkeys(["ARG_MAX", "ARG_MIN"], _OUTPUT_TYPE),
    "SHAPE": (Option("out_type", "<b", 0, DTYPES),),
    "GATHER": _ints("axis batch_dims"),
    "CAST": (Option("in_data_type", "<b", 0, DTYPES), Option("out_data_type", "<b", 0, DTYPES)),
    "LEAKY_RELU": (Option("alpha", "<f"),),
    "MIRROR_PAD": (Option("mode", "<b", 0, MIRRORS),),
    **dict.fromkeys(["SPACE_TO_DEPTH", "DEPTH_TO_SPACE"], _ints("block_size")),
    "BATCH_MATMUL": _bools("adj_x adj_y asymmetric_quantize_inputs"),
    "CUMSUM": _bools("exclusive reverse"),
    "ONE_HOT": _ints("axis"),
    "GELU": _bools("approximate"),
    "FAKE_QUANT": (Option("min", "<f"), Option("max", "<f"), Option("num_bits", "<i"),
                   *_bools("narrow_range")),
}  # fmt: skip
