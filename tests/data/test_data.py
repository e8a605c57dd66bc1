"""Datasets, transforms, the loader: the same bits for any number of workers, clear errors."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minigrad.data import (
    ArrayDataset,
    CenterCrop,
    ColorJitter,
    Compose,
    HorizontalFlip,
    IdxDataset,
    ImageFolder,
    Loader,
    Normalize,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    Subset,
    mixup,
    read_idx,
)
from minigrad.errors import DtypeError, FormatError, ShapeError


def picture(h, w, c=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, c), np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


sides = st.integers(1, 40)
NORMALIZE = Normalize((100.0, 110.0, 120.0), (50.0, 60.0, 70.0))
RANDOM = Compose([RandomCrop(9, 3), HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4), NORMALIZE])


# ---------------------------------------------------------------- transforms


@given(sides, sides, st.integers(0, 5), st.integers(0, 99), st.data())
def test_a_random_crop_is_a_window_of_the_bordered_picture(h, w, padding, seed, data):
    x = picture(h, w)
    most = min(h, w) + 2 * padding
    in_the_border = st.integers(1, max(padding, 1))  # and perhaps nowhere else
    size = data.draw(st.just(most) | st.integers(1, most) | in_the_border)
    y = RandomCrop(size, padding, fill=7)(x, rng(seed))
    bordered = np.pad(x, ((padding,) * 2, (padding,) * 2, (0, 0)), constant_values=7)
    windows = np.lib.stride_tricks.sliding_window_view(bordered, y.shape)
    assert y.shape == (size, size, 3)
    assert any(np.array_equal(y, window) for window in windows.reshape(-1, *y.shape))


@given(sides, sides, st.integers(0, 99))
def test_the_box_of_a_resized_crop_lies_inside(h, w, seed):
    crop = RandomResizedCrop(8, scale=(0.01, 1.0), ratio=(0.1, 10.0))
    left, top, right, bottom = crop._box((h, w, 3), rng(seed))
    assert 0 <= left < right <= w
    assert 0 <= top < bottom <= h


def test_a_random_crop_reaches_every_place_of_the_bordered_picture():
    x = np.arange(1, 13, dtype=np.uint8).reshape(3, 4, 1)
    bordered = np.pad(x, ((2, 2), (2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(bordered, (2, 2, 1))
    drawn = {RandomCrop(2, 2)(x, rng(seed)).tobytes() for seed in range(800)}
    assert drawn == {window.tobytes() for window in windows.reshape(-1, 4)}


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (20, 20)])
@pytest.mark.parametrize("channels", [1, 3])
def test_scaling_to_the_size_that_it_has_leaves_a_picture_as_it_is(shape, channels):
    x = picture(*shape, channels)
    scaled = Image.fromarray(x.squeeze()).resize(shape[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(Resize(20)(x, rng()), np.asarray(scaled).reshape(x.shape))


@pytest.mark.parametrize("channels", [1, 3])
def test_scaling_keeps_aspect_and_channels(channels):
    assert Resize(10)(picture(20, 50, channels), rng()).shape == (10, 25, channels)
    x = RandomResizedCrop(6)(picture(20, 50, channels), rng())
    assert (x.shape, x.dtype) == ((6, 6, channels), np.uint8)


def test_a_flip_of_certainty_mirrors_and_one_of_none_does_not():
    x = picture(3, 4)
    assert np.array_equal(HorizontalFlip(1.0)(x, rng()), x[:, ::-1])
    assert np.array_equal(HorizontalFlip(0.0)(x, rng()), x)


def test_the_centre_is_in_the_middle():
    x = picture(5, 8)
    assert np.array_equal(CenterCrop(4)(x, rng()), x[0:4, 2:6])


def test_jitter_of_no_strength_changes_nothing_and_brightness_alone_is_a_product():
    x = picture(6, 7)
    assert np.array_equal(ColorJitter()(x, rng()), x)
    factor = np.float32(rng(4).uniform(0.5, 1.5))
    expected = np.rint(np.clip(x.astype(np.float32) * factor, 0, 255)).astype(np.uint8)
    # contrast and saturation by 1 give the same numbers up to a rounding of half a step
    got = ColorJitter(brightness=0.5)(x, rng(4))
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_a_grey_picture_has_no_saturation_to_change():
    grey = np.repeat(picture(5, 5, 1), 3, axis=2)
    changed = ColorJitter(saturation=1.0)(grey, rng(3))
    assert np.abs(changed.astype(int) - grey).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_normalize_is_its_formula(dtype):
    """For every byte in every channel, wherever it lies; and for numbers that are no bytes."""
    x = np.arange(768).reshape(256, 1, 3)[::-1].astype(dtype)[:, ::-1]
    y = NORMALIZE(x, rng())
    assert (y.shape, y.dtype) == ((3, 256, 1), np.float32)
    mean, std = np.array(NORMALIZE.mean, np.float32), np.array(NORMALIZE.std, np.float32)
    np.testing.assert_array_equal(y, ((x.astype(np.float32) - mean) / std).transpose(2, 0, 1))


def test_mixup_is_a_convex_sum_of_two_pictures():
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    labels = np.arange(4)
    mixed, other, share = mixup(x, labels, 0.4, rng(1))
    assert 0 <= share <= 1
    expected = np.float32(share) * x + np.float32(1 - share) * x[other]
    np.testing.assert_array_equal(mixed, expected)
    with pytest.raises(ValueError, match="alpha must be above 0, not 0"):
        mixup(x, labels, 0, rng())


@pytest.mark.parametrize("transform", [RandomCrop(6), CenterCrop(6)])
def test_a_crop_larger_than_the_picture_is_refused(transform):
    with pytest.raises(ShapeError, match="6 x 6 is larger than the picture of 5 x 9"):
        transform(picture(5, 9), rng())


def test_normalize_wants_a_number_for_each_channel():
    with pytest.raises(ShapeError, match="one mean and one std a channel, got 3 and 3"):
        NORMALIZE(picture(4, 4, 1), rng())


# ---------------------------------------------------------------- the loader


def dataset(n=11, h=10, w=12):
    images = np.stack([picture(h, w, seed=k) for k in range(n)])
    return ArrayDataset(images, np.arange(n) % 4)


def bits(batches):
    return [(b.images.tobytes(), b.labels.tobytes()) for b in batches]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_workers_gives_the_same_batches(workers):
    alone, together = (
        Loader(dataset(), 3, RANDOM, shuffle=True, seed=5, workers=w) for w in (0, workers)
    )
    for epoch in range(2):
        assert bits(together.batches(epoch)) == bits(alone.batches(epoch))


def test_each_epoch_has_every_picture_once_in_an_order_of_its_own():
    centre = Compose([CenterCrop(9), NORMALIZE])
    loader = Loader(dataset(), 4, centre, shuffle=True, seed=1)
    plain = {image.tobytes() for batch in Loader(dataset(), 4, centre) for image in batch.images}
    seen = [[image.tobytes() for b in loader for image in b.images] for _ in range(2)]
    assert [set(epoch) for epoch in seen] == [plain, plain]
    assert seen[0] != seen[1]


def test_an_epoch_can_be_asked_for_again():
    loader = Loader(dataset(), 3, RANDOM, shuffle=True)
    first = bits(loader)
    bits(loader)
    assert bits(loader.batches(0)) == first
    loader.epoch = 0
    assert bits(loader) == first


def test_a_picture_changes_from_epoch_to_epoch_and_with_the_seed():
    one = Subset(dataset(), [3])
    images = [
        next(Loader(one, 1, RANDOM, seed=seed).batches(epoch)).images.tobytes()
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len(set(images)) == 4


def test_the_last_batch_is_smaller_or_left_out():
    sizes = [len(b.labels) for b in Loader(dataset(), 4, RANDOM)]
    assert sizes == [4, 4, 3]
    loader = Loader(dataset(), 4, RANDOM, drop_last=True)
    assert ([len(b.labels) for b in loader], len(loader)) == ([4, 4], 2)


def test_a_reader_that_stops_in_the_middle_leaves_no_thread_waiting():
    batches = Loader(dataset(), 1, RANDOM, workers=2).batches(0)
    next(batches)
    batches.close()


class Ragged(list):
    classes, labels = ("a",), np.zeros(2, np.int64)


def test_pictures_of_different_shapes_are_no_batch():
    loader = Loader(Ragged([picture(4, 4), picture(4, 5)]), 2, NORMALIZE)
    with pytest.raises(ShapeError, match="end the transform with a crop"):
        list(loader)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"workers": -1}, {"seed": -1}])
def test_a_loader_says_what_it_needs(wrong):
    with pytest.raises(ValueError, match="batch_size of at least 1"):
        Loader(dataset(), **{"batch_size": 1, "transform": RANDOM, **wrong})


# ---------------------------------------------------------------- datasets


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (np.zeros((2, 3, 3)), [0, 1], DtypeError, "must be uint8"),
        (np.zeros((2, 3, 3), np.uint8), [0.5, 1], DtypeError, "labels must be integers"),
        (np.zeros((2, 3), np.uint8), [0, 1], ShapeError, r"must be \(N, H, W, C\)"),
        (np.zeros((2, 3, 3), np.uint8), [0], ShapeError, r"must be \(N, H, W, C\)"),
        (np.zeros((2, 3, 3), np.uint8), [0, -1], ShapeError, r"must lie in 0\.\.0, got -1\.\.0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, labels, error, message):
    with pytest.raises(error, match=message):
        ArrayDataset(images, labels)


def test_an_empty_dataset_gives_no_batch():
    empty = ArrayDataset(np.zeros((0, 4, 4), np.uint8), np.zeros(0, np.uint8))
    assert list(Loader(empty, 3, RANDOM)) == []


@pytest.fixture
def folders(tmp_path):
    for name, count in (("dog", 2), ("cat", 1), ("empty", 0)):
        (tmp_path / name).mkdir()
        for k in range(count):
            Image.fromarray(picture(6, 5, seed=k)).save(tmp_path / name / f"{k}.png")
    (tmp_path / "dog" / "notes.txt").write_text("no photograph")
    return tmp_path


def test_a_folder_is_a_class(folders):
    found = ImageFolder(folders)
    assert (found.classes, found.labels.tolist(), len(found)) == (("cat", "dog"), [0, 1, 1], 3)
    assert np.array_equal(found[2], picture(6, 5, seed=1))


def test_classes_that_are_given_set_the_labels(folders):
    assert ImageFolder(folders, ("dog", "cat")).labels.tolist() == [0, 0, 1]
    with pytest.raises(FormatError, match="there are no photographs of bird"):
        ImageFolder(folders, ("cat", "bird"))


def test_pictures_that_are_kept_are_read_once(folders):
    found = ImageFolder(folders, keep=True)
    first = found[0]
    found.paths[0].unlink()
    assert found[0] is first


def test_a_folder_without_photographs_says_so(tmp_path):
    with pytest.raises(FormatError, match="no folder with photographs"):
        ImageFolder(tmp_path)


# ---------------------------------------------------------------- IDX


def idx_bytes(array):
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    big = array.astype(array.dtype.newbyteorder(">"))
    head = bytes([0, 0, codes[array.dtype.str[1:]], array.ndim])
    return head + struct.pack(f">{array.ndim}I", *array.shape) + big.tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_files_are_read_plain_and_compressed(tmp_path, dtype, pack):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "x").write_bytes(pack(idx_bytes(array)))
    got = read_idx(tmp_path / "x")
    assert got.dtype == array.dtype
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, array)


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))
HUGE = bytes([0, 0, 14, 2]) + struct.pack(">2I", 0xFFFFFFFF, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG", "not an IDX file"),
        (bytes([0, 0, 10, 1]) + GOOD[4:], "not an IDX file"),
        (GOOD[:9], "ends before their sizes"),
        (bytes([0, 0, 8, 0]), "states 0 axes"),
        (GOOD[:-1], "1 of 6 bytes of data are missing"),
        (GOOD + b"x", "more data than the header's 6 bytes"),
        (HUGE, "more than 4294967296"),
        (bytes([0, 0, 8, 1]) + struct.pack(">I", 1 << 31), "of data are missing"),
        (gzip.compress(GOOD, mtime=0)[:-9], "gzip data is broken"),
        (gzip.compress(GOOD, mtime=0)[:-8] + bytes(8), "gzip data is broken"),
    ],
)
def test_a_broken_or_lying_idx_file_is_refused_in_a_sentence(tmp_path, data, message):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read_idx(tmp_path / "x")


def test_images_and_labels_make_a_dataset(tmp_path):
    images = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    (tmp_path / "x").write_bytes(idx_bytes(images))
    (tmp_path / "y").write_bytes(idx_bytes(np.array([1, 0], np.uint8)))
    found = IdxDataset(tmp_path / "x", tmp_path / "y", ("a", "b"))
    assert (found.classes, found.labels.tolist()) == (("a", "b"), [1, 0])
    assert np.array_equal(found[1][:, :, 0], images[1])
