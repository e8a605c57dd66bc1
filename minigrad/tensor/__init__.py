"""Tensors: what is recorded, and under which layer's name.

Reading order:

    modes        whether operations are recorded, and who carries them out
    convert      what becomes an array of a tensor
    values       how a tensor is read, compared and shown
    inplace      changes of the values, which are counted
    tensor       the tensor itself, and its methods
    registry     tables that grow while files are imported
    create       tensors of numbers and arrays
    primitive    what is recorded when a function is evaluated, and the rules it has
    hints        words of PyTorch and NumPy, and ours for them

What may be changed: how a step is recorded, as long as a value that changes in place is
refused (tests/test_tensor.py, tests/test_autograd.py) and PyTorch's habits work
(tests/test_habits.py).
"""

from __future__ import annotations

from minigrad.tensor.convert import (
    FLOATS,
    Array,
    Dtype,
    Shape,
    float_dtype,
    get_default_dtype,
    require_room,
    set_default_dtype,
)
from minigrad.tensor.create import as_tensor, expect_tensor, from_dlpack, from_numpy, tensor
from minigrad.tensor.modes import (
    Setting,
    current_scope,
    enable_grad,
    interpreting,
    is_grad_enabled,
    no_grad,
    recording,
    scope,
)
from minigrad.tensor.primitive import (
    PRIMITIVES,
    Interpreter,
    Node,
    Primitive,
    Recorder,
    Rule,
    apply,
    evaluate,
    primitive,
    record,
    recorder,
    source,
    under_scope,
)
from minigrad.tensor.tensor import OPERATIONS, Axes, Index, Operand, Tensor, wrap
from minigrad.tensor.values import Version

__all__ = [
    "FLOATS",
    "OPERATIONS",
    "PRIMITIVES",
    "Array",
    "Axes",
    "Dtype",
    "Index",
    "Interpreter",
    "Node",
    "Operand",
    "Primitive",
    "Rule",
    "Setting",
    "Shape",
    "Tensor",
    "Version",
    "apply",
    "as_tensor",
    "current_scope",
    "enable_grad",
    "evaluate",
    "expect_tensor",
    "float_dtype",
    "from_dlpack",
    "from_numpy",
    "get_default_dtype",
    "interpreting",
    "is_grad_enabled",
    "no_grad",
    "primitive",
    "recording",
    "require_room",
    "scope",
    "set_default_dtype",
    "source",
    "tensor",
    "under_scope",
    "wrap",
    "Recorder",
    "record",
    "recorder",
]
