"""What people type who know PyTorch or NumPy, where minigrad has another word for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

__all__ = ["DATA", "FUNCTIONS", "LAYERS", "METHODS", "MODELS", "MODULES", "OPTIM", "missing"]

_ONE_DEVICE = "minigrad computes on the CPU, so leave it out"
_NO_IN_PLACE = "write the result into a new tensor, or use copy_ inside mg.no_grad()"

METHODS = {
    "add": "x + y",
    "all": "compare first: (x > 0).all() is NumPy's",
    "any": "compare first: (x > 0).any() is NumPy's",
    "amax": "x.max(axis=...)",
    "amin": "x.min(axis=...)",
    "apply_": _NO_IN_PLACE,
    "bool": "a Tensor holds float32 or float64; x != 0 is an array of truth values",
    "chunk": "slices, x[:, :k] and x[:, k:]",
    "clamp_": _NO_IN_PLACE,
    "clip": "x.clamp(low, high)",
    "cuda": _ONE_DEVICE,
    "detach_": "x = x.detach()",
    "device": _ONE_DEVICE,
    "div": "x / y",
    "dot": "(x * y).sum()",
    "eq": "x == y",
    "expand": "x.broadcast_to(shape)",
    "ge": "x >= y",
    "gt": "x > y",
    "gather": "a slice, or mg.where",
    "half": "float32 or float64: x.astype('float32')",
    "index_select": "a slice, or mg.concat of slices",
    "int": "x.numpy().astype(int)",
    "is_cuda": _ONE_DEVICE,
    "le": "x <= y",
    "long": "x.numpy().astype(int): indices and labels are NumPy arrays",
    "lt": "x < y",
    "mT": "x.transpose(-2, -1)",
    "masked_fill": "mg.where(condition, value, x)",
    "mm": "x @ y",
    "mul": "x * y",
    "ne": "x != y",
    "neg": "-x",
    "new_ones": "mg.ones(shape, dtype=x.dtype)",
    "new_zeros": "mg.zeros(shape, dtype=x.dtype)",
    "norm": "(x * x).sum().sqrt()",
    "prod": "mg.exp(mg.log(x).sum()) for positive x",
    "register_hook": "mg.explain(y), which shows every cotangent",
    "repeat": "x.broadcast_to(shape), or mg.concat",
    "retain_grad": "mg.gradients(y, [x]), for any x in the middle of a graph",
    "scatter": "mg.embed(x, shape, index)",
    "square": "x * x",
    "sub": "x - y",
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
    "functional": "mg.nn.functional, or the functions of minigrad itself, such as mg.relu",
    "inference_mode": "mg.no_grad",
    "linspace": "mg.tensor(np.linspace(a, b, n, dtype='float32'))",
    "log1p": "mg.log(1 + x)",
    "manual_seed": "a generator of its own: rng=np.random.default_rng(seed)",
    "mm": "mg.matmul",
    "bmm": "mg.matmul",
    "dot": "(x * y).sum()",
    "float32": "np.float32, or 'float32'",
    "float64": "np.float64, or 'float64'",
    "hstack": "mg.concat",
    "is_tensor": "isinstance(x, mg.Tensor)",
    "randint": "rng.integers(low, high, shape), rng being a NumPy generator",
    "set_grad_enabled": "mg.no_grad or mg.enable_grad",
    "utils": "mg.data, which has datasets and a Loader",
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
    "add_module": "self.name = module",
    "append": "nn.Sequential, or self.name = module",
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
    "LeakyReLU": "mg.leaky_relu in a module of your own, or nn.ReLU",
    "ModuleDict": "attributes, self.a = nn.Linear(2, 2)",
    "ModuleList": "nn.Sequential, which can be iterated over",
    "ParameterList": "attributes, self.a = nn.Parameter(x)",
    "BCEWithLogitsLoss": "mg.sigmoid and mg.log, or nn.CrossEntropyLoss on two classes",
    "ConvTranspose2d": "mg.conv2d_input_grad, which is that function",
    "L1Loss": "mg.absolute(x - y).mean()",
    "NLLLoss": "nn.CrossEntropyLoss on the logits, which takes the logarithm too",
    "utils": "mg.optim.clip_grad_norm and its like",
}


OPTIM = {
    "lr_scheduler": "mg.optim itself: mg.optim.StepLR and its like",
    "swa_utils": "mg.optim.WeightAverage",
    "NAdam": "mg.optim.Adam",
    "Adagrad": "mg.optim.RMSprop",
    "OneCycleLR": "a LinearLR and a CosineAnnealingLR in a mg.optim.SequentialLR",
    "MultiStepLR": "mg.optim.StepLR, or a subclass of mg.optim.Schedule with a rate of your own",
    "LambdaLR": "a subclass of mg.optim.Schedule: its rate(base, t) is the function",
    "ConstantLR": "mg.optim.LinearLR with equal factors",
    "AveragedModel": "mg.optim.WeightAverage",
    "get_ema_multi_avg_fn": "mg.optim.WeightAverage",
}

DATA = {
    "DataLoader": "mg.data.Loader",
    "TensorDataset": "mg.data.ArrayDataset",
    "random_split": "mg.data.Subset",
    "DatasetFolder": "mg.data.ImageFolder",
    "transforms": "mg.data itself: mg.data.RandomCrop and its like",
}

MODELS = {
    "create_model": "mg.models.create",
    "get_model": "mg.models.create",
    "list_models": "mg.models.names()",
}


def missing(
    owner: str, name: str, hints: Mapping[str, str], ours: Iterable[str] = ()
) -> AttributeError:
    """The error for a name that ``owner`` does not have, with ours where there is one.

    ``ours`` are the names that there are, of which the nearest is given.
    """
    hint = "" if name.startswith("_") else _hint(name, hints, ours)
    return AttributeError(f"{owner} has no attribute {name!r}{hint}")


def _hint(name: str, hints: Mapping[str, str], ours: Iterable[str]) -> str:
    from difflib import get_close_matches  # only a mistake has use for it

    if name in hints:
        return f": {_ONE_DEVICE}" if hints[name] is _ONE_DEVICE else f"; use {hints[name]}"
    if name.endswith("_"):
        return f"; {_NO_IN_PLACE}"
    near = get_close_matches(name, list(ours), 1, 0.8)
    if near:
        return f"; did you mean {near[0]}?"
    if name in np.__all__ and hints in (METHODS, FUNCTIONS):
        return f"; use np.{name} on x.numpy(), which no gradient goes through"
    return ""
