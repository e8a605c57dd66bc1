"""Writes tests/golden/checkpoints: files as trainers write them, of a very narrow MobileNetV2.

    pip install torch==2.13.0 torchvision==0.29.1 timm==1.0.31 pytorch-lightning==2.6.6
    python tests/golden/make_checkpoints.py

Weights are multiples of 1/16, so that the files are small when they are packed; they are stored
packed, by gzip, and are otherwise as they were written.
`expected.npz` has the weights under torchvision's names, and those of timm under timm's.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import pathlib
import shutil
from collections import Counter, deque

import numpy as np
import pytorch_lightning
import timm.utils
import torch
from timm.models import efficientnet
from torchvision.models import MobileNetV2

FOLDER = pathlib.Path(__file__).parent / "checkpoints"
WIDTH, CLASSES = 0.1, 2


def rounded(model):
    """The model with other numbers in every tensor, all of them multiples of 1/16."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.dtype.is_floating_point:
            drawn = torch.randint(-8, 9, tensor.shape, generator=generator) / 16
            tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return model


def network():
    return rounded(MobileNetV2(num_classes=CLASSES, width_mult=WIDTH))


def timm_network():
    return rounded(efficientnet._gen_mobilenet_v2("mobilenetv2_100", WIDTH, num_classes=CLASSES))


class Trained(pytorch_lightning.LightningModule):
    """A network in a trainer, with a loss that has weights of its own."""

    def __init__(self, lr=0.1, out=None):
        super().__init__()
        self.save_hyperparameters()
        self.net = network()
        self.criterion = torch.nn.CrossEntropyLoss(weight=torch.ones(CLASSES))

    def training_step(self, batch, index):
        return self.net(batch).sum()

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.0)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def lightning(path):
    trainer = pytorch_lightning.Trainer(
        max_epochs=1, limit_train_batches=1, logger=False, enable_checkpointing=True,
        default_root_dir="/tmp/lightning", enable_progress_bar=False, accelerator="cpu",
    )  # fmt: skip
    model = Trained(out=pathlib.PurePosixPath("/runs"))
    trainer.fit(model, torch.utils.data.DataLoader(torch.zeros(2, 3, 32, 32), batch_size=2))
    rounded(model.net)
    trainer.save_checkpoint(path)


def timm_ema(path):
    model = timm_network()
    average = timm.utils.ModelEmaV3(model, decay=0.5)
    for tensor in average.module.state_dict().values():
        if tensor.dtype.is_floating_point:
            tensor.mul_(2)
    args = argparse.Namespace(model="mobilenetv2", lr=0.1, started=datetime.datetime(2020, 1, 1))
    saver = timm.utils.CheckpointSaver(
        model, torch.optim.SGD(model.parameters(), 0.0), args=args, model_ema=average,
        checkpoint_dir=str(path.parent), recovery_dir="/tmp",
    )  # fmt: skip
    saver._save(str(path), epoch=3, metric=0.5)


def everything(path):
    """What people put beside the weights."""
    torch.save({
        "model_state": {f"backbone.{k}": v for k, v in network().state_dict().items()},
        "epoch": np.int64(3), "best": np.float32(0.5), "curve": np.arange(3.0),
        "when": datetime.datetime(2020, 1, 1), "out": pathlib.PureWindowsPath("c:/runs"),
        "last": deque([1.0], 5), "seen": Counter("aab"), ("train", 0): 0.5, 7: "seven",
        "rng": torch.get_rng_state(), "numpy_rng": np.random.RandomState(0).get_state(),
        "log": "epoch 1\n" * 10_000,
    }, path)  # fmt: skip


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    torch.manual_seed(0)
    lightning(FOLDER / "lightning.ckpt")
    timm_ema(FOLDER / "timm_ema.pth.tar")
    torch.save({"model": torch.compile(network()).state_dict()}, FOLDER / "compiled.pt")
    torch.save(torch.nn.DataParallel(network()).state_dict(), FOLDER / "parallel.pth")
    averaged = torch.optim.swa_utils.AveragedModel(network())
    averaged.update_parameters(network())
    torch.save({"state_dict": averaged.state_dict()}, FOLDER / "averaged.pth")
    torch.save(network().half().state_dict(), FOLDER / "half.pth")
    torch.save(network().bfloat16().state_dict(), FOLDER / "bfloat16.pth",
               _use_new_zipfile_serialization=False)  # fmt: skip
    everything(FOLDER / "everything.pth")
    arrays = {
        f"{library}/{name}": tensor.numpy()
        for library, model in (("torchvision", network()), ("timm", timm_network()))
        for name, tensor in model.state_dict().items()
    }
    np.savez(FOLDER / "expected.npz", **arrays)
    for path in list(FOLDER.iterdir()):
        (FOLDER / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()


if __name__ == "__main__":
    main()
