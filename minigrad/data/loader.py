"""Batches: which pictures, in which order, prepared while the network computes.

The order of epoch e is a permutation drawn from (seed, e), and picture i is changed with
numbers drawn from (seed, e, i).  Nothing depends on who prepares a batch or when, so any
number of workers gives the same batches, and a run that was interrupted goes on with the
very batches it would have had.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.data.datasets import Dataset
from minigrad.data.transforms import Transform
from minigrad.errors import ShapeError

__all__ = ["Batch", "Loader"]


class Batch(NamedTuple):
    """Pictures and their labels.

    Attributes
    ----------
    images : ndarray of float32, (N, C, H, W)
    labels : ndarray of integers, (N,)
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


class Loader:
    """A dataset as batches.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
    transform : Transform
        Gives float32 of shape (C, H, W); see ``minigrad.data.transforms``.
    shuffle : bool
        Whether each epoch has an order of its own.
    seed : int
        Of the order and of the transforms.
    workers : int
        Threads that prepare batches ahead; 0 prepares each when it is asked for.
    drop_last : bool
        Leave out a last batch that is smaller than the others.

    Examples
    --------
    >>> import numpy as np
    >>> from minigrad.data import ArrayDataset, Loader, Normalize
    >>> dataset = ArrayDataset(np.zeros((5, 8, 8), np.uint8), [0, 1, 0, 1, 0])
    >>> loader = Loader(dataset, 2, Normalize((127.5,), (127.5,)))
    >>> [batch.images.shape for batch in loader]
    [(2, 1, 8, 8), (2, 1, 8, 8), (1, 1, 8, 8)]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        transform: Transform,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 0,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1 or workers < 0 or seed < 0:
            raise ValueError(
                "a loader needs batch_size of at least 1, workers and seed of at least 0, "
                f"got {batch_size}, {workers}, {seed}"
            )
        self.dataset, self.batch_size, self.transform = dataset, batch_size, transform
        self.shuffle, self.seed, self.workers, self.drop_last = shuffle, seed, workers, drop_last
        self.epoch = 0

    def __len__(self) -> int:
        """Batches an epoch."""
        n = len(self.dataset) / self.batch_size
        return math.floor(n) if self.drop_last else math.ceil(n)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of epoch ``epoch``, which is counted up when they are asked for."""
        self.epoch += 1
        return self.batches(self.epoch - 1)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch: the same ones whenever it is asked for.

        Parameters
        ----------
        epoch : int
        first : int
            How many batches to leave out at the beginning.
        """
        order = self._order(epoch)
        size = self.batch_size
        parts = [order[k * size : (k + 1) * size] for k in range(first, len(self))]
        if not self.workers:
            return (self._batch(epoch, part) for part in parts)
        return self._ahead(epoch, parts)

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.dataset))

    def _ahead(self, epoch: int, parts: list[npt.NDArray[np.int64]]) -> Iterator[Batch]:
        """Two batches a worker are under way; what is late is waited for, in order."""
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.workers, "minigrad-data")
        try:
            for part in parts:
                waiting.append(pool.submit(self._batch, epoch, part))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # also where the reader stops in the middle
            pool.shutdown(wait=False, cancel_futures=True)

    def _batch(self, epoch: int, indices: npt.NDArray[np.int64]) -> Batch:
        pictures = [self._picture(epoch, int(i)) for i in indices]
        shapes = {picture.shape for picture in pictures}
        if len(shapes) > 1:
            raise ShapeError(
                f"the pictures of a batch have the shapes {sorted(shapes)[:4]}; end the transform "
                "with a crop of one size"
            )
        return Batch(
            np.stack(pictures).astype(np.float32, copy=False), self.dataset.labels[indices]
        )

    def _picture(self, epoch: int, index: int) -> npt.NDArray[np.generic]:
        rng = np.random.default_rng((self.seed, epoch, index))
        return self.transform(self.dataset[index], rng)
