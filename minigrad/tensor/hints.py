"""What people type who know PyTorch or NumPy, where minigrad has another word for it."""

from __future__ import annotations

__all__ = ["FUNCTIONS", "LAYERS", "METHODS", "MODULES", "missing"]

_ONE_DEVICE = "minigrad computes on the CPU, so leave it out"
_NO_IN_PLACE = "write the result into a new tensor, or use copy_ inside mg.no_grad()"

METHODS = {
    "all": "compare first: (x > 0).all() is NumPy's",
    "any": "compare first: (x > 0).any() is NumPy's",
    "amax": "x.max(axis=...)",
    "amin": "x.min(axis=...)",
    "apply_": _NO_IN_PLACE,
    "bool": "a Tensor holds float32 or float64; x != 0 is an array of truth values",
    "chunk": "slices, x[:, :k] and x[:, k:]",
    "clamp_": _NO_IN_PLACE,
    "contiguous": "nothing: minigrad takes every order of memory",
    "cpu": _ONE_DEVICE,
    "cuda": _ONE_DEVICE,
    "detach_": "x = x.detach()",
    "device": _ONE_DEVICE,
    "expand": "x.broadcast_to(shape)",
    "gather": "a slice, or mg.where",
    "half": "float32 or float64: x.astype('float32')",
    "index_select": "a slice, or mg.concat of slices",
    "int": "x.numpy().astype(int)",
    "long": "x.numpy().astype(int): indices and labels are NumPy arrays",
    "masked_fill": "mg.where(condition, value, x)",
    "norm": "(x * x).sum().sqrt()",
    "prod": "mg.exp(mg.log(x).sum()) for positive x",
    "register_hook": "mg.explain(y), which shows every cotangent",
    "repeat": "x.broadcast_to(shape), or mg.concat",
    "retain_grad": "mg.gradients(y, [x]), for any x in the middle of a graph",
    "scatter": "mg.embed(x, shape, index)",
    "split": "slices, x[:, :k] and x[:, k:]",
    "swapaxes": "x.transpose(i, j)",
    "t": "x.T",
    "topk": "np.argsort(x.numpy())[..., ::-1][..., :k]",
    "type": "x.astype(dtype)",
    "unbind": "list(x)",
}

FUNCTIONS = {
    "abs": "mg.absolute",
    "adaptive_avg_pool2d": "mg.global_avg_pool",
    "allclose": "np.allclose(x, y)",
    "amax": "mg.max(x, axis=...)",
    "amin": "mg.min(x, axis=...)",
    "arange": "mg.tensor(np.arange(n, dtype='float32'))",
    "array": "mg.tensor",
    "as_tensor": "mg.tensor",
    "asarray": "mg.tensor",
    "cat": "mg.concat",
    "concatenate": "mg.concat",
    "cuda": _ONE_DEVICE,
    "device": _ONE_DEVICE,
    "divide": "mg.div",
    "einsum": "mg.matmul, with mg.permute and mg.reshape",
    "equal": "np.array_equal(x, y)",
    "eye": "mg.tensor(np.eye(n, dtype='float32'))",
    "functional": "the functions of minigrad itself, such as mg.relu",
    "inference_mode": "mg.no_grad",
    "linspace": "mg.tensor(np.linspace(a, b, n, dtype='float32'))",
    "log1p": "mg.log(1 + x)",
    "manual_seed": "a generator of its own: rng=np.random.default_rng(seed)",
    "mm": "mg.matmul",
    "bmm": "mg.matmul",
    "multiply": "mg.mul",
    "pow": "mg.power",
    "rand": "mg.tensor(rng.random(shape, dtype='float32')), rng being a NumPy generator",
    "save": "mg.formats.save",
    "sign": "np.sign(x.numpy())",
    "square": "x * x",
    "subtract": "mg.sub",
    "vstack": "mg.concat",
}

MODULES = {
    "forward": "a subclass that has a method forward(self, x)",
    "cpu": _ONE_DEVICE,
    "cuda": _ONE_DEVICE,
    "device": _ONE_DEVICE,
    "half": "module.to('float32') or module.to('float64')",
    "register_buffer": "self.name = nn.Buffer(values)",
    "register_forward_hook": "plan.intermediates, or a module of your own around this one",
    "register_module": "self.name = module",
    "register_parameter": "self.name = nn.Parameter(values)",
    "type": "module.to(dtype)",
}

LAYERS = {
    "AdaptiveAvgPool2d": "nn.GlobalAvgPool",
    "BatchNorm1d": "nn.BatchNorm2d, which takes (N, C) too",
    "DataParallel": "mg.threads",
    "Dropout2d": "nn.StochasticDepth for whole images, or nn.Dropout",
    "GELU": "nn.SiLU",
    "LeakyReLU": "nn.ReLU",
    "ModuleDict": "attributes, self.a = nn.Linear(2, 2)",
    "ModuleList": "nn.Sequential, which can be iterated over",
    "ParameterList": "attributes, self.a = nn.Parameter(x)",
    "functional": "the functions of minigrad itself, such as mg.relu",
    "utils": "mg.optim.clip_grad_norm and its like",
}


def missing(owner: str, name: str, hints: dict[str, str]) -> AttributeError:
    """The error for a name that ``owner`` does not have, with ours where there is one."""
    hint = f"; use {hints[name]}" if name in hints else ""
    if hint and hints[name] is _ONE_DEVICE:
        hint = f": {_ONE_DEVICE}"
    return AttributeError(f"{owner} has no attribute {name!r}{hint}")
