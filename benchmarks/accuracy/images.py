"""CIFAR-10 from the official archive, and the batches of each epoch."""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Images = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def cifar10(path: str, train: int, test: int) -> tuple[Images, Images]:
    """The first images for training and for testing, normalised, ``[N, 3, 32, 32]`` and labels ``[N, 1]``."""
    with tarfile.open(path) as archive:
        batches = [_batch(archive, f"data_batch_{number}") for number in range(1, 6)]
        tests = _batch(archive, "test_batch")
    images, labels = (np.concatenate(parts) for parts in zip(*batches))
    return (images[:train], labels[:train]), (tests[0][:test], tests[1][:test])


def _batch(archive: tarfile.TarFile, name: str) -> Images:
    found = archive.extractfile(f"cifar-10-batches-py/{name}")
    assert found is not None
    data = pickle.loads(found.read(), encoding="bytes")
    images = data[b"data"].reshape(-1, 3, 32, 32).astype(np.float32) / 255
    mean, std = (np.array(of, np.float32).reshape(1, 3, 1, 1) for of in (MEAN, STD))
    return (images - mean) / std, np.array(data[b"labels"], np.int64).reshape(-1, 1)


class Epochs:
    """Shuffled, flipped and shifted by up to four pixels; what an epoch holds depends on the seed and its number alone.

    Args:
        images: images and labels.
        batch_size: how many at a time; the last batch may be smaller.
        seed: of the run.

    Attributes:
        epoch: the number of the epoch; set when one begins, so that going through the images once more changes nothing.
    """

    def __init__(self, images: Images, batch_size: int, seed: int) -> None:
        self._images, self._batch_size, self._seed, self.epoch = images, batch_size, seed, 0

    def __len__(self) -> int:
        return -(-len(self._images[0]) // self._batch_size)

    def __iter__(self) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
        random = np.random.default_rng([self._seed, self.epoch])
        order = random.permutation(len(self._images[0]))
        for start in range(0, len(order), self._batch_size):
            chosen = order[start : start + self._batch_size]
            yield _augmented(self._images[0][chosen], random), self._images[1][chosen]


def _augmented(images: npt.NDArray[np.float32], random: np.random.Generator) -> npt.NDArray[np.float32]:
    padded = np.pad(images, [(0, 0), (0, 0), (4, 4), (4, 4)])
    found = np.empty_like(images)
    for number, (top, left, flip) in enumerate(random.integers(0, [9, 9, 2], (len(images), 3))):
        crop = padded[number, :, top : top + 32, left : left + 32]
        found[number] = crop[:, :, ::-1] if flip else crop
    return found
