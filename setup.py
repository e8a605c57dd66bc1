"""How the compiled core is built.  Everything else is in pyproject.toml.

One extension module per instruction set, each made of the same templates:

    ext/*.pyx.tp --Tempita--> build/core/<level>.pyx --Cython--> <level>.c --cc--> _ext/<level>
    minigrad/kernels/polynomials.py --> build/core/polynomials.h, which ext/vmath.h includes

To add compiled operations: write ext/<name>.pyx.tp and add <name> to TEMPLATES.  The
templates follow one another in one module, so what an earlier one defines is at hand.  A
template sees the names of ``namespace`` below, and the functions of ext/vec.h (registers),
ext/vmath.h (activations, exp) and ext/pool.h (threads).

``_ext.cpu`` asks the CPU what it can run; minigrad/kernels/cython/_ext/__init__.py chooses, and
imports the one level that was chosen.  No other level's code is ever executed, not even
the initialisation of its module.

A compiler without vector extensions (MSVC), or MINIGRAD_PURE=1, gives the package without
its core: NumPy takes over, and ``minigrad doctor`` says so.
"""

import os
import platform
import runpy
from itertools import product
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

TEMPLATES = ["level", "peak", "layout", "geometry", "dense", "depthwise"]
TEMPLATES += ["depthwise_input_grad", "block_sums", "weight_grad", "weight_grad_packed"]
TEMPLATES += ["depthwise_weight_grad", "elementwise", "reduce", "softmax", "normalize", "linear"]
TEMPLATES += ["pooling", "copies", "pairs", "resample", "blocks", "edges", "executor"]
TEMPLATES += ["batch_norm", "training"]

HEADERS = ["ext/vec.h", "ext/vmath.h", "ext/transpose.h", "ext/pool.h"]
POLYNOMIALS = "minigrad/kernels/polynomials.py"  # becomes a header too, in build/core

# Depthwise windows with kernels of their own, (kernel, stride), and how many input columns
# lie outside the map, to the left and to the right, with the usual padding.
EDGES = {(3, 1): (1, 1), (3, 2): (1, 1), (5, 1): (2, 2), (5, 2): (2, 1)}

# Constants, element types and functions, which Python reads from the same file.
TABLES = runpy.run_path("minigrad/kernels/tables.py")

# Depthwise tiles of two output rows have at least so many pixels in each.
PAIRED = 4

# A register tile is (pixels) x (vectors of channels); TILES says, for each number of
# vectors, how many pixels fit the registers beside the weights and one broadcast value.
LEVELS = {
    "avx512": {
        "flags": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
        "BYTES": 64,
        "REGISTERS": 32,
        "TILES": {1: 14, 2: 14, 3: 9},
        "STRIP": 8,
        "TALLEST": 2,
    },
    "avx2": {
        "flags": ["-mavx2", "-mfma"],
        "BYTES": 32,
        "REGISTERS": 16,
        "TILES": {1: 12, 2: 6, 3: 4},
        "STRIP": 8,
        "TALLEST": 1,
    },
    "baseline": {
        "flags": ["-Os"],  # half the size; without AVX it is no slower
        "BYTES": 16,
        "REGISTERS": 16,
        "TILES": {1: 12, 2: 6, 3: 4},
        "STRIP": 8,
        "TALLEST": 1,
    },
    "neon": {
        "flags": [],
        "BYTES": 16,
        "REGISTERS": 32,
        "TILES": {1: 14, 2: 14, 3: 9},
        "STRIP": 8,
        "TALLEST": 2,
    },
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
        **{name: TABLES[name] for name in ("CHAIN", "PIXELS", "INNER", "ELEMENTS", "ACTIVATIONS")},
        **TABLES["CACHES"],
        "FUNCTIONS": TABLES["FUNCTIONS_OF_ONE"],
        "DTYPES": [(e.name, e.c) for e in TABLES["FLOATS"]],
        "SIZES": {e.name: e.size for e in TABLES["ELEMENTS"]},
        "LANES": {e.name: config["BYTES"] // e.size for e in TABLES["ELEMENTS"]},
        "REGISTERS": config["REGISTERS"],
        "TILES": config["TILES"],
        "STRIP": strip,
        "WINDOWS": list(EDGES),
        "EDGES": EDGES,
        "TALLEST": config["TALLEST"],
        "PACKED": level == "avx2",  # its L1 holds half of what a tile's block reads
        "HALVED": ["f32"] if level == "avx512" else [],  # Zen 4 does a half in half of the time
        "low_part": low_part,
        "MASKED": level == "avx512",  # loads and stores of part of a register cost nothing
        "PAIRED": PAIRED,
        "WALKS": [
            (rows, kernel, stride, pixels, careful)
            for kernel, stride in EDGES
            for pixels in range(1, strip + 1)
            for rows, careful in [(1, True), (1, False), (2, False)]
            if rows <= config["TALLEST"] and pixels >= (PAIRED if rows > 1 else 1)
        ],
        "GATHERS": [(1, 0, 1, pixels, True) for pixels in range(1, strip + 1)],
        "product": product,
        "folded": folded,
        "wide_load": wide_load,
        "input_rows": input_rows,
        "input_columns": input_columns,
    }


def folded(name: str, count: int) -> str:
    """The sum of registers of chains: those half of them apart are added until one is left."""
    terms = [f"{name}{k}" for k in range(count)]
    while len(terms) > 1:
        half = len(terms) // 2
        terms = [f"add_f64({a}, {b})" for a, b in zip(terms[:half], terms[half:], strict=True)]
    return f"fold_f64({terms[0]})"


def wide_load(element: str, address: str, last: bool) -> str:
    """A register of float64 from numbers at an address: all lanes, or of the last one n."""
    return f"load_wide_n_{element}({address}, n)" if last else f"load_wide_{element}({address})"


def low_part(register: str, kind: str) -> str:
    """A register, or the lower half of it, as its kind asks for."""
    return f"low_{kind}({register})" if kind.startswith("half") else register


def input_rows(rows: int, kernel: int, stride: int) -> list[tuple]:
    """Runs (first, last) of the input rows of a depthwise tile, and which output rows read them."""
    if rows == 1:
        return [(None, None, [0])]
    return [(None, stride, [0]), (stride, kernel, [0, 1]), (kernel, None, [1])]


def input_columns(kernel: int, stride: int, pixels: int, careful: bool) -> list[tuple]:
    """Runs of the input columns of a depthwise tile, and when they are inside the map."""
    wide = (pixels - 1) * stride + kernel
    if careful:
        return [(f"inside <= {k} < inside_end", range(k, k + 1)) for k in range(wide)]
    left, right = EDGES[kernel, stride]
    return [
        ("inside == 0", range(left)),
        ("True", range(left, wide - right)),
        (f"inside_end == {wide}", range(wide - right, wide)),
    ]


def extension(name: str, sources: list[str], flags: list[str]) -> Extension:
    return Extension(
        f"minigrad.kernels.cython._ext.{name}",
        sources,
        depends=[*HEADERS, POLYNOMIALS],
        include_dirs=["ext", "build/core"],
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


def polynomials() -> str:
    """The header of the tables that ext/vmath.h reads."""
    return "\n".join(
        f"static const {e.c} {name}_{e.name}[] = {{{', '.join(numbers)}}};"
        for e in TABLES["FLOATS"]
        for name, numbers in runpy.run_path(POLYNOMIALS)["POLYNOMIALS"][e.name].items()
    )


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
        if not self.accepts():
            print("minigrad: there is no C compiler here, so the package is installed without the "
                  "compiled core; `minigrad doctor` says what that costs")  # fmt: skip
            self.extensions = []
            return
        write_if_changed(Path("build/core/polynomials.h"), polynomials() + "\n")
        flags = [flag for flag in FLAGS_OF_GCC if self.accepts(flag)]
        for ext, source in zip(self.extensions, self.to_c(), strict=True):
            ext.sources = [source]
            ext.extra_compile_args += flags
        super().build_extensions()

    def accepts(self, *flags: str) -> bool:
        """Whether there is a compiler, and it knows the flags."""
        probe = Path(self.build_temp) / "probe.c"
        write_if_changed(probe, "int probe;\n")
        try:
            self.compiler.compile([str(probe)], extra_postargs=["-Werror", *flags])
        except (CompileError, OSError):
            return False
        return True

    def to_c(self) -> list[str]:
        """The C file of each extension; Cython takes as long as the compiler, so side by side."""
        from Cython.Build import cythonize

        sources = [self.to_cython(ext) for ext in self.extensions]
        stale = [
            Extension(ext.name, [str(source)])
            for ext, source in zip(self.extensions, sources, strict=True)
            if not translated(source)
        ]
        cythonize(stale, quiet=True, force=True, nthreads=int(self.parallel))
        return [str(source.with_suffix(".c")) for source in sources]

    def to_cython(self, ext: Extension) -> Path:
        pyx = Path("build/core") / f"{ext.name.rpartition('.')[2]}.pyx"  # for every Python
        if ext.sources == ["ext/cpu.pyx"]:
            write_if_changed(pyx, Path(ext.sources[0]).read_text())
        else:
            expand(pyx.stem, ext.sources, pyx)
        return pyx


def translated(pyx: Path) -> bool:
    """Whether the C file beside it was made of it, by this Cython.

    Cython asks for more: that no file of its own is newer, which in a build environment made
    for one build all are.
    """
    from Cython import __version__

    c = pyx.with_suffix(".c")
    if not c.exists() or c.stat().st_mtime < pyx.stat().st_mtime:
        return False
    with c.open() as file:
        return file.readline() == f"/* Generated by Cython {__version__} */\n"


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildCore})
