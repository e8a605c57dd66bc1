"""How the compiled core is built.  Everything else is in pyproject.toml.

One extension module per instruction set, each made of the same templates:

    ext/*.pyx.tp --Tempita--> build/core/<level>.pyx --Cython--> <level>.c --cc--> _ext/<level>

To add compiled operations: write ext/<name>.pyx.tp and add <name> to TEMPLATES.  The
templates follow one another in one module, so what an earlier one defines is at hand.  A
template sees the names of ``namespace`` below, and the functions of ext/vec.h (registers),
ext/vmath.h (activations, exp) and ext/pool.h (threads).

``_ext.cpu`` asks the CPU what it can run; minigrad/kernels/_ext/__init__.py chooses, and
imports the one level that was chosen.  No other level's code is ever executed, not even
the initialisation of its module.

A compiler without vector extensions (MSVC), or MINIGRAD_PURE=1, gives the package without
its core: NumPy takes over, and ``minigrad doctor`` says so.
"""

import os
import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

TEMPLATES = ["level", "peak", "layout", "geometry", "dense", "depthwise"]
TEMPLATES += ["depthwise_input_grad", "weight_grad", "depthwise_weight_grad"]
TEMPLATES += ["elementwise", "reduce", "normalize", "linear", "pooling", "blocks", "executor"]

HEADERS = ["ext/vec.h", "ext/vmath.h", "ext/transpose.h", "ext/pool.h"]

# Depthwise windows with kernels of their own, (kernel, stride), and how many input columns
# lie outside the map, to the left and to the right, with the usual padding.
EDGES = {(3, 1): (1, 1), (3, 2): (1, 1), (5, 1): (2, 2), (5, 2): (2, 1)}

# A register tile is (pixels) x (vectors of channels); TILES says, for each number of
# vectors, how many pixels fit the registers beside the weights and one broadcast value.
LEVELS = {
    "avx512": {
        "flags": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
        "BYTES": 64,
        "REGISTERS": 32,
        "TILES": {1: 14, 2: 14, 3: 9},
        "STRIP": 8,
    },
    "avx2": {
        "flags": ["-mavx2", "-mfma"],
        "BYTES": 32,
        "REGISTERS": 16,
        "TILES": {1: 12, 2: 6, 3: 4},
        "STRIP": 8,
    },
    "baseline": {
        "flags": ["-Os"],  # half the size; without AVX it is no slower
        "BYTES": 16,
        "REGISTERS": 16,
        "TILES": {1: 12, 2: 6, 3: 4},
        "STRIP": 8,
    },
    "neon": {"flags": [], "BYTES": 16, "REGISTERS": 32, "TILES": {1: 14, 2: 14, 3: 9}, "STRIP": 8},
}

FLAGS = [
    "-O3",
    "-g0",
    "-std=gnu11",
    "-ffp-contract=off",  # an FMA stands where the source says fma, and nowhere else
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-Wno-unused-function",
]

# Without the first, gcc 12 keeps the weights of a 13 x 2 tile on the stack: half the speed.
FLAGS_OF_GCC = ["-fira-region=one", "-Wno-discarded-qualifiers"]


def levels_of_this_architecture() -> list[str]:
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return ["avx512", "avx2", "baseline"]
    return ["neon"] if machine in ("aarch64", "arm64") else ["baseline"]


def namespace(level: str) -> dict:
    """What the templates see, beside Tempita's own names."""
    config = LEVELS[level]
    strip = config["STRIP"]
    return {
        "level": level,
        "DTYPES": [("f32", "float"), ("f64", "double")],
        "LANES": {"f32": config["BYTES"] // 4, "f64": config["BYTES"] // 8},
        "REGISTERS": config["REGISTERS"],
        "TILES": config["TILES"],
        "STRIP": strip,
        "WINDOWS": list(EDGES),
        "EDGES": EDGES,
        "WALKS": [
            (kernel, stride, pixels, edge)
            for kernel, stride in EDGES
            for pixels in range(1, strip + 1)
            for edge in edges(kernel, stride)
            if len(columns(kernel, stride, pixels, edge)) >= 1
        ],
        "GATHERS": [(0, 1, pixels, "AnyEdge") for pixels in range(1, strip + 1)],
        "columns": columns,
    }


def edges(kernel: int, stride: int) -> list[str]:
    """The edges of the map that a depthwise tile may have beside it."""
    left, right = EDGES[kernel, stride]
    sides = ["LeftEdge"] * (left > 0) + ["RightEdge"] * (right > 0)
    return ["Inside", *sides, *["BothEdges"] * (len(sides) == 2), "AnyEdge"]


def columns(kernel: int, stride: int, pixels: int, edge: str) -> range:
    """The input columns that a depthwise tile of so many pixels walks over."""
    left, right = EDGES.get((kernel, stride), (0, 0))
    wide = (pixels - 1) * stride + kernel
    first = left if edge in ("LeftEdge", "BothEdges") else 0
    last = wide - right if edge in ("RightEdge", "BothEdges") else wide
    return range(first, last)


def extension(name: str, sources: list[str], flags: list[str]) -> Extension:
    return Extension(
        f"minigrad.kernels._ext.{name}",
        sources,
        depends=HEADERS,
        include_dirs=["ext"],
        extra_compile_args=FLAGS + flags,
        extra_link_args=[] if platform.system() == "Windows" else ["-s", "-pthread"],
    )


def extensions() -> list[Extension]:
    if os.environ.get("MINIGRAD_PURE"):
        return []
    templates = [f"ext/{name}.pyx.tp" for name in TEMPLATES]
    return [extension("cpu", ["ext/cpu.pyx"], [])] + [
        extension(level, templates, LEVELS[level]["flags"])
        for level in levels_of_this_architecture()
    ]


def write_if_changed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def expand(level: str, templates: list[str], path: Path) -> None:
    """One module's source: its templates, expanded for the level, one after another."""
    from Cython import Tempita

    text = "\n".join(
        Tempita.Template(Path(t).read_text(), name=t).substitute(namespace(level))
        for t in templates
    )
    write_if_changed(path, text)


class BuildCore(build_ext):
    """Templates to Cython to C, then the compiler, the levels side by side."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "msvc":
            print("minigrad: MSVC has no vector extensions; building without the compiled core")
            self.extensions = []
            return
        flags = [flag for flag in FLAGS_OF_GCC if self.accepts(flag)]
        for ext in self.extensions:
            ext.sources = [self.to_c(ext)]
            ext.extra_compile_args += flags
        super().build_extensions()

    def accepts(self, flag: str) -> bool:
        probe = Path(self.build_temp) / "probe.c"
        write_if_changed(probe, "int probe;\n")
        try:
            self.compiler.compile([str(probe)], extra_postargs=["-Werror", flag])
        except CompileError:
            return False
        return True

    def to_c(self, ext: Extension) -> str:
        from Cython.Build import cythonize

        pyx = Path(self.build_temp) / "core" / f"{ext.name.rpartition('.')[2]}.pyx"
        if ext.sources == ["ext/cpu.pyx"]:
            write_if_changed(pyx, Path(ext.sources[0]).read_text())
        else:
            expand(pyx.stem, ext.sources, pyx)
        module = Extension(ext.name, [str(pyx)], depends=HEADERS)
        return cythonize(module, quiet=True)[0].sources[0]


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildCore})
