"""Numba's compiler without what no kernel has: Python's objects, and what guards them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core.base import BaseContext
from numba.core.codegen import CodeLibrary, JITCodeLibrary
from numba.core.compiler import CompilerBase, Flags
from numba.core.compiler_machinery import PassManager
from numba.core.funcdesc import FunctionDescriptor
from numba.core.typed_passes import (
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
)
from numba.core.typing import Signature
from numba.core.untyped_passes import FixupArgs, IRProcessing, TranslateByteCode

__all__ = ["Compiler", "compile_into"]


class _Library(JITCodeLibrary):
    """A kernel's machine code, optimised once; Numba does it three times, for Python's objects."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        manager, builder = self._codegen._module_pass_manager(
            opt=2, loop_vectorize=False, slp_vectorize=False
        )
        manager.run(self._final_module, builder)


class Compiler(CompilerBase):
    """Numba's passes without those for what no kernel has: twice as fast."""

    def define_pipelines(self) -> list[PassManager]:
        """The one list of passes."""
        if self.state.library is None:
            codegen, name = self.state.targetctx.codegen(), self.state.func_id.func_qualname
            self.state.library = _Library(codegen, name)
            self.state.library.enable_object_caching()
        manager = PassManager("kernel")
        for one in (
            TranslateByteCode, FixupArgs, IRProcessing, NopythonTypeInference, IRLegalization,
            NativeLowering, NoPythonBackend,
        ):  # fmt: skip
            manager.add_pass(one, one.__name__)
        manager.finalize()
        return [manager]


def compile_into(
    library: CodeLibrary,
    context: BaseContext,
    function: Callable[..., object],
    signature: Signature,
    inline: bool,
) -> FunctionDescriptor:
    """Compile a function into a library that is not complete; its descriptor."""
    flags = Flags()
    flags.error_model = "numpy"
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.forceinline = inline
    arguments, result = signature.args, signature.return_type
    compiler = Compiler(context.typing_context, context, library, arguments, result, flags, {})
    return compiler.compile_extra(function).fndesc
