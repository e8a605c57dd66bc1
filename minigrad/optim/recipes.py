"""How these networks were trained, as data.

A recipe is a line of a paper's or a repository's settings.  The rate is the one for its
``batch_size``; another batch size scales it in proportion (Goyal et al., arXiv 1706.02677).
``epochs`` and the rest are what the source states.
"""

from __future__ import annotations

from dataclasses import dataclass

from minigrad.nn.module import Module
from minigrad.optim.groups import parameter_groups
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.rmsprop import RMSprop, RMSpropTF
from minigrad.optim.schedules import (
    CosineAnnealingLR,
    LinearLR,
    PolynomialLR,
    Schedule,
    SequentialLR,
    StepLR,
)
from minigrad.optim.sgd import SGD

__all__ = ["RECIPES", "Recipe", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """A way to train.

    Attributes
    ----------
    source : str
        Where the settings stand.
    optimizer : {"sgd", "rmsprop", "rmsprop_tf"}
    lr : float
        For ``batch_size``.
    batch_size, epochs : int
    momentum, alpha, eps, weight_decay : float
        Of the optimiser; alpha and eps are RMSProp's.
    decay_norms : bool
        Whether weight decay reaches scales, shifts and biases too.
    schedule : {"step", "cosine", "polynomial"}
    gamma, step_epochs, power : float
        The factor of "step" and how often it comes; the power of "polynomial".
    warmup_epochs, warmup_factor : float
        A linear start from that factor of the rate.
    average : float
        The decay of the moving average of the weights; 0 for none.
    label_smoothing : float
    """

    source: str
    optimizer: str
    lr: float
    batch_size: int
    epochs: int
    momentum: float = 0.9
    alpha: float = 0.9
    eps: float = 1e-3
    weight_decay: float = 1e-5
    decay_norms: bool = True
    schedule: str = "step"
    gamma: float = 0.97
    step_epochs: float = 2.4
    power: float = 2.0
    warmup_epochs: float = 0.0
    warmup_factor: float = 0.0
    average: float = 0.0
    label_smoothing: float = 0.0

    def make_optimizer(self, module: Module, batch_size: int) -> Optimizer:
        """The optimiser over a module's parameters, its rate scaled to the batch.

        Parameters
        ----------
        module : Module
        batch_size : int

        Returns
        -------
        Optimizer
        """
        lr = self.lr * batch_size / self.batch_size
        groups = parameter_groups(module, lr, self.weight_decay)
        if self.decay_norms:
            groups = [{**group, "weight_decay": self.weight_decay} for group in groups]
        if self.optimizer == "sgd":
            return SGD(groups, lr, self.momentum)
        kind = RMSpropTF if self.optimizer == "rmsprop_tf" else RMSprop
        return kind(groups, lr, alpha=self.alpha, eps=self.eps, momentum=self.momentum)

    def make_schedule(
        self, optimizer: Optimizer, steps_per_epoch: int, epochs: int | None = None
    ) -> Schedule:
        """The schedule, to be stepped after each update.

        Parameters
        ----------
        optimizer : Optimizer
        steps_per_epoch : int
        epochs : int, optional
            A shorter or longer run (default: the recipe's).

        Returns
        -------
        Schedule
        """
        total = max(1, round((epochs or self.epochs) * steps_per_epoch))
        warm = min(round(self.warmup_epochs * steps_per_epoch), total - 1)
        after = self._after(optimizer, total - warm, steps_per_epoch)
        if not warm:
            return after
        # The first schedule must see the full rates, which `after` has set for step 0.
        start = LinearLR(optimizer, self.warmup_factor, total_iters=warm)
        return SequentialLR(optimizer, [start, after], [warm])

    def _after(self, optimizer: Optimizer, steps: int, steps_per_epoch: int) -> Schedule:
        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, steps)
        if self.schedule == "polynomial":
            return PolynomialLR(optimizer, steps, self.power)
        return StepLR(optimizer, max(1, round(self.step_epochs * steps_per_epoch)), self.gamma)


RECIPES: dict[str, Recipe] = {
    "squeezenext": Recipe(
        "amirgholami/SqueezeNext, solver.prototxt", "sgd", 0.4, 1024, 120, weight_decay=1e-4,
        schedule="polynomial", warmup_epochs=0.62, warmup_factor=0.25,
    ),
    "mobilenet_v2": Recipe(
        "torchvision, references/classification", "sgd", 0.045, 256, 300, weight_decay=4e-5,
        gamma=0.98, step_epochs=1,
    ),
    "mobilenet_v3": Recipe(
        "torchvision, references/classification", "rmsprop", 0.064, 1024, 600, eps=0.0316,
        gamma=0.973, step_epochs=2,
    ),
    "mnasnet": Recipe(
        "tensorflow/tpu, models/official/mnasnet; the paper", "rmsprop_tf", 0.256, 4096, 350,
        decay_norms=False, warmup_epochs=5, average=0.9999, label_smoothing=0.1,
    ),
    "efficientnet": Recipe(
        "tensorflow/tpu, models/official/efficientnet", "rmsprop_tf", 0.016, 256, 350,
        decay_norms=False, warmup_epochs=5, average=0.9999, label_smoothing=0.1,
    ),
    "efficientnet_v2": Recipe(
        "google/automl, efficientnetv2", "rmsprop_tf", 0.256, 4096, 350,
        decay_norms=False, warmup_epochs=5, average=0.9999, label_smoothing=0.1,
    ),
    "efficientnet_v2_torchvision": Recipe(
        "torchvision, references/classification", "sgd", 0.5, 1024, 600, weight_decay=2e-5,
        decay_norms=False, schedule="cosine", warmup_epochs=5, warmup_factor=0.01,
        average=0.99998, label_smoothing=0.1,
    ),
    "ssdlite320": Recipe(
        "torchvision, references/detection", "sgd", 0.15, 192, 660, weight_decay=4e-5,
        schedule="cosine",
    ),
    "segmentation": Recipe(
        "torchvision, references/segmentation", "sgd", 0.01, 32, 30, weight_decay=1e-6,
        schedule="polynomial", power=0.9,
    ),
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Parameters
    ----------
    name : str
        A key of ``RECIPES``.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        If there is none; the message has the names.

    Examples
    --------
    >>> recipe("efficientnet").optimizer
    'rmsprop_tf'
    """
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
