"""Folders and archives of photographs: what is found, how it is split, how it is augmented."""

import io
import os
import tarfile
import threading
import time

import numpy as np
import pytest
from PIL import Image

from models.augment import (
    Augmentation,
    batches_per_epoch,
    cutmix,
    prefetch,
    to_float,
    training_batches,
    validation_batches,
    whole,
)
from models.dataset import DatasetError, Joined, open_photographs

COLOURS = {"blue": (20, 40, 220), "green": (30, 200, 60), "red": (220, 30, 20)}


def picture(colour, seed, size=(24, 20)):
    noise = np.random.default_rng(seed).integers(-15, 16, (size[1], size[0], 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def fill(folder, counts, first=0):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture(COLOURS[name], first + i).save(folder / name / f"{i:03}.png")


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "set", {"blue": 10, "green": 15, "red": 20})
    return tmp_path / "set"


@pytest.fixture
def divided(tmp_path):
    fill(tmp_path / "set/train", {"blue": 4, "green": 4})
    fill(tmp_path / "set/val", {"blue": 2, "green": 3}, first=100)
    return tmp_path / "set"


def load(path, **options):
    return open_photographs(path, size=16, cache=path.parent / "cache", **options)


# ---------------------------------------------------------------- what is found


def test_a_folder_of_class_folders(folder):
    photographs = load(folder)
    assert photographs.classes == ("blue", "green", "red")
    assert photographs.images.shape == (45, 16, 16, 3) and photographs.images.dtype == np.uint8
    assert np.bincount(photographs.labels).tolist() == [10, 15, 20]
    means = photographs.images.mean((1, 2))
    expected = np.array(list(COLOURS.values()))[photographs.labels]
    assert np.abs(means - expected).max() < 6


def test_folders_train_and_val_decide_the_split(divided):
    photographs = load(divided)
    train, val = photographs.split(seed=0)
    assert all(photographs.names[i].startswith("train/") for i in train) and len(train) == 8
    assert all(photographs.names[i].startswith("val/") for i in val) and len(val) == 5
    assert np.array_equal(train, photographs.split(seed=9)[0])


@pytest.mark.parametrize("top", ["", "photographs/", "./"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_an_archive_is_read_as_its_folder(divided, top, suffix):
    archive = divided.parent / f"set{suffix}"
    with tarfile.open(archive, "w:gz" if suffix.endswith("gz") else "w") as tar:
        for path in sorted(divided.rglob("*.png"), reverse=True):
            tar.add(path, top + path.relative_to(divided).as_posix())
    one, other = load(divided), load(archive)
    assert one.names == other.names and one.classes == other.classes
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.labels, other.labels)
    assert [a.tolist() for a in one.split()] == [a.tolist() for a in other.split()]


def test_classes_file_orders_and_names_the_classes(folder):
    (folder / "classes.txt").write_text(
        "# label\tfolder\tname\n0\tred\ta red one\t7\n1\tblue\tsea\t9\n2\tgreen\tmoss\t8\n"
    )
    photographs = load(folder)
    assert photographs.classes == ("a red one", "sea", "moss")
    assert np.bincount(photographs.labels).tolist() == [20, 10, 15]
    archive = folder.parent / "set.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, "set")
    assert load(archive).classes == photographs.classes


def test_pictures_of_every_kind_become_rgb_squares(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
    where = tmp_path / "set/a"
    Image.new("RGBA", (40, 20), (200, 0, 0, 0)).save(where / "1-transparent.png")
    Image.new("L", (20, 50), 90).save(where / "2-grey.jpg")
    Image.new("CMYK", (33, 33), (0, 255, 255, 0)).save(where / "3-cmyk.jpg")
    sideways = Image.new("RGB", (64, 32), "black")
    sideways.paste("white", (0, 0, 32, 32))
    tag = Image.Exif()
    tag[0x0112] = 6  # to be turned by 90 degrees clockwise: the left half becomes the upper half
    sideways.save(where / "4-turned.png", exif=tag)
    Image.new("RGB", (16, 16), "blue").save(tmp_path / "set/b/1.png")
    images = load(tmp_path / "set").images
    assert (images[0] == 255).all()
    assert np.abs(images[1].astype(int) - 90).max() <= 2
    assert images[2].mean((0, 1)).tolist() == pytest.approx([255, 0, 0], abs=12)
    assert images[3][:6].min() > 250 and images[3][-6:].max() < 5


def test_decoded_once_and_anew_when_the_folder_changes(folder, monkeypatch):
    before = load(folder)
    files = sorted(p.name for p in (folder.parent / "cache").iterdir())
    assert len(files) == 2  # nothing half-written stays
    monkeypatch.setattr("models.dataset.decode", lambda *a: pytest.fail("decoded twice"))
    assert np.array_equal(load(folder).images, before.images)
    monkeypatch.undo()
    picture((0, 0, 0), 1).save(folder / "blue/000.png")
    assert load(folder).images[0].mean() < 20


def test_an_interrupted_decoding_leaves_nothing_that_looks_whole(folder, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("models.dataset.decode", fail)
    with pytest.raises(KeyboardInterrupt):
        load(folder)
    assert list((folder.parent / "cache").iterdir()) == []


# ---------------------------------------------------------------- the split


def test_split_is_drawn_by_seed_and_keeps_classes_in_proportion(folder):
    photographs = load(folder)
    train, val = photographs.split(seed=3, fraction=0.2)
    assert sorted([*train, *val]) == list(range(45))
    assert np.bincount(photographs.labels[val]).tolist() == [2, 3, 4]
    assert np.array_equal(val, photographs.split(seed=3, fraction=0.2)[1])
    assert not np.array_equal(val, photographs.split(seed=4, fraction=0.2)[1])


def test_copies_of_a_picture_stay_on_one_side(folder):
    for name in ("blue", "green", "red"):
        for path in list((folder / name).iterdir())[:8]:
            (folder / name / f"copy-{path.name}").write_bytes(path.read_bytes())
    photographs = load(folder)
    for seed in range(5):
        train, val = photographs.split(seed)
        assert not set(photographs.digests[train]) & set(photographs.digests[val])


def test_a_picture_in_both_given_parts_is_refused(divided):
    (divided / "val/blue/again.png").write_bytes((divided / "train/blue/000.png").read_bytes())
    with pytest.raises(DatasetError, match=r"train/blue/000.png is in val too \(1 such files\)"):
        load(divided).split()


# ---------------------------------------------------------------- what cannot be used


def spoil(folder, what):
    if what == "missing":
        return folder / "nowhere"
    if what == "text":
        (folder / "notes").write_text("hello")
        return folder / "notes"
    if what == "cut":
        archive = folder.parent / "set.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, "set")
        archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
        return archive
    if what == "empty":
        (folder.parent / "empty").mkdir()
        return folder.parent / "empty"
    if what == "stray":
        picture((0, 0, 0), 0).save(folder / "stray.png")
    if what == "broken":
        (folder / "red/000.png").write_bytes(b"\x89PNG not really")
    if what == "one class":
        return folder / ".."
    if what == "half":
        os.rename(folder / "red", folder / "train")
        fill(folder / "train", {"red": 2})
    if what == "listed":
        (folder / "classes.txt").write_text("0\tred\tred\n1\tblue\tblue\n")
    if what == "columns":
        (folder / "classes.txt").write_text("red\nblue\ngreen\n")
    return folder


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("missing", "does not exist"),
        ("text", "neither a folder nor a tar archive"),
        ("cut", "damaged or cut short"),
        ("empty", "holds no pictures"),
        ("stray", "stray.png lies outside any class folder"),
        ("broken", r"red/000.png cannot be read as a picture \(no known format\)"),
        ("one class", "has one class folder"),
        ("half", "has a folder train but no folder val"),
        ("listed", "must list each class folder once"),
        ("columns", "separated by tabs"),
    ],
)
def test_what_cannot_be_used_is_named(folder, what, sentence):
    path = spoil(folder, what)
    with pytest.raises(DatasetError, match=sentence):
        open_photographs(path, size=16, cache=folder.parent.parent / f"{folder.parent.name}-cache")


def test_a_class_missing_from_val_is_named(divided):
    for path in (divided / "val/blue").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="class blue has no pictures in val"):
        load(divided)


def test_a_class_of_one_picture_cannot_be_split(folder):
    for path in sorted((folder / "blue").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DatasetError, match="class blue needs at least two different pictures"):
        load(folder).split()


# ---------------------------------------------------------------- augmentation


def test_boxes_have_the_area_and_ratio_asked_for():
    boxes = Augmentation(area=(0.3, 0.6)).boxes(4000, 100, 100, 96, np.random.default_rng(0))
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    share, ratio = width * height / 1e4, width / height
    assert boxes.min() >= 0 and boxes.max() <= 100
    assert 0.3 <= share.min() < 0.31 and 0.59 < share.max() <= 0.6 + 1e-9
    assert 3 / 4 - 1e-9 <= ratio.min() < 0.76 and 1.32 < ratio.max() <= 4 / 3 + 1e-9
    full = Augmentation(area=(1, 1)).boxes(100, 100, 100, 96, np.random.default_rng(0))
    assert full.min() >= 0 and full.max() <= 100  # an aspect that does not fit is cut


def test_colours_change_as_their_names_say():
    grey, red = np.array([100, 100, 100, 1.0]), np.array([200, 50, 50, 1.0])

    def changed(colour, **ranges):
        plain = {"brightness": 0, "contrast": 0, "saturation": 0} | ranges
        return Augmentation(**plain).colours(500, np.random.default_rng(1)) @ colour

    assert np.allclose(changed(red), red[:3])
    bright = changed(red, brightness=0.4) / red[:3]
    assert np.allclose(bright, bright[:, :1]) and 0.6 <= bright.min() < 0.62 and 1.38 < bright.max() <= 1.4
    assert np.allclose(changed(grey, saturation=0.9), 100)
    assert np.ptp(changed(red, saturation=0.9), axis=1).min() < 20  # nearly grey
    assert np.allclose(changed(np.array([127.5, 127.5, 127.5, 1]), contrast=0.5), 127.5)
    assert np.ptp(changed(grey, contrast=0.5)) > 20


def test_flip_mirrors():
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[:, :, :4] = 255
    still = {"area": (1, 1), "ratio": (1, 1), "brightness": 0, "contrast": 0, "saturation": 0}
    rng = np.random.default_rng(0)
    assert np.array_equal(Augmentation(**still, flip=0)(image, 8, rng), whole(image, 8))
    assert np.array_equal(Augmentation(**still, flip=1)(image, 8, rng), whole(image, 8)[:, :, :, ::-1])


def epoch(photographs, **changes):
    """The functions that make one epoch's batches."""
    options = {"size": 12, "batch_size": 8, "augmentation": Augmentation(), "seed": 5, "epoch": 2}
    members = np.arange(len(photographs.labels))
    return list(training_batches(photographs.images, photographs.labels, members, **options | changes))


def made(makers):
    return [make() for make in makers]


def test_training_batches_have_their_shape_range_and_labels(folder):
    photographs = load(folder)
    batches = made(epoch(photographs))
    assert len(batches) == 5 == batches_per_epoch(45, 8)  # 5 pictures of 45 sit this epoch out
    for batch in batches:
        views, labels = batch.views, batch.labels
        assert views.shape == (8, 12, 12, 3) and views.dtype == np.uint8 and labels.dtype == np.int64
        images = to_float(views)
        assert images.shape == (8, 3, 12, 12) and images.dtype == np.float32
        assert images.transpose(0, 2, 3, 1).flags.c_contiguous
        assert 0 <= images.min() and images.max() <= 1
        strongest = images.mean((2, 3)).argmax(1)  # R, G or B, whatever the crop
        assert np.array_equal(strongest, 2 - labels)
    assert [len(batch.labels) for batch in made(epoch(photographs, batch_size=100))] == [45]


def test_batches_depend_on_the_seed_and_the_epoch_alone(folder):
    photographs = load(folder)
    crops = Augmentation(unresized=0.5)
    how = {"augmentation": crops, "mixed": 0.5}
    first = made(epoch(photographs, **how))
    assert {batch.share == 1 for batch in first} == {True, False}
    backwards = made(epoch(photographs, **how)[::-1])[::-1]
    for again in (backwards, *(list(prefetch(epoch(photographs, **how), workers)) for workers in (1, 3))):
        assert all(same(one, other) for one, other in zip(first, again, strict=True))
    later = made(epoch(photographs, **how, start=3))
    assert len(later) == 2 and same(later[0], first[3])
    for changes in ({"seed": 6}, {"epoch": 3}):
        assert not same(epoch(photographs, **how | changes)[0](), first[0])


def same(one, other):
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(np.array_equal(first, second) for first, second in pairs)


def test_unresized_crops_are_pieces_of_the_image_pixel_for_pixel():
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    still = {"flip": 0, "brightness": 0, "contrast": 0, "saturation": 0}
    windows = np.lib.stride_tricks.sliding_window_view(image, (8, 8), (0, 1)).transpose(0, 1, 3, 4, 2)
    crops = {window.tobytes() for window in windows.reshape(-1, 8, 8, 3)}

    def found(share):
        views = Augmentation(**still, unresized=share).views(np.stack([image] * 200), 8, np.random.default_rng(1))
        return [view.tobytes() for view in views if view.tobytes() in crops]

    assert len(found(1.0)) == 200 and len(set(found(1.0))) > 100
    assert 70 < len(found(0.5)) < 130 and not found(0)
    larger = Augmentation(unresized=1).views(image[None], 32, np.random.default_rng(1))
    assert larger.shape == (1, 32, 32, 3)  # there are no such pieces: resized


def test_cutmix_says_what_share_of_each_view_is_of_which_class():
    views = np.broadcast_to(np.arange(6, dtype=np.uint8)[:, None, None, None], (6, 10, 10, 3))
    shares = []
    for seed in range(300):
        batch = cutmix(views, np.arange(6), np.random.default_rng(seed))
        own = (batch.views == batch.labels[:, None, None, None]).mean((1, 2, 3))
        foreign = batch.labels != batch.others
        assert np.allclose(own[foreign], batch.share) and np.allclose(own[~foreign], 1)
        assert all(set(np.unique(v)) <= {a, b} for v, a, b in zip(batch.views, batch.labels, batch.others, strict=True))
        shares.append(batch.share)
    assert min(shares) < 0.2 and max(shares) > 0.95
    assert np.array_equal(views[:, 0, 0, 0], np.arange(6))  # the views it was given are as they were


def test_validation_batches_visit_each_picture_once_in_order(folder):
    photographs = load(folder)
    members = np.array([3, 1, 40, 17, 22])
    makers = validation_batches(photographs.images, photographs.labels, members, size=16, batch_size=2)
    batches = made(makers)
    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    assert np.array_equal(np.concatenate([images for images, _ in batches]), photographs.images[members])
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), photographs.labels[members])
    images = whole(photographs.images[members], 16)
    assert np.array_equal(np.round(images * 255).transpose(0, 2, 3, 1), photographs.images[members])
    assert whole(photographs.images[members], 10).shape == (5, 3, 10, 10)


def test_prefetch_keeps_the_order_whichever_is_made_first():
    def maker(number):
        return lambda: (time.sleep(0.02 * (number % 3 == 0)), number)[1]

    assert list(prefetch(map(maker, range(20)), workers=4)) == list(range(20))


def test_prefetch_hands_on_errors_and_stops_when_left():
    def fails():
        raise DatasetError("no more")

    received = prefetch([lambda: 1, fails])
    assert next(received) == 1
    with pytest.raises(DatasetError, match="no more"):
        next(received)

    calls = []
    endless = prefetch(iter(lambda: lambda: calls.append(1), None), workers=2)
    next(endless)
    endless.close()
    assert len(calls) <= 5  # no more than those that were ahead
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_a_jpeg_larger_than_needed_is_read_at_a_fraction(tmp_path):
    gradient = np.linspace(0, 255, 1600, dtype=np.uint8)[None, :, None].repeat(900, 0).repeat(3, 2)
    buffer = io.BytesIO()
    Image.fromarray(gradient).save(buffer, "JPEG", quality=95)
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "1.jpg").write_bytes(buffer.getvalue())
    row = load(tmp_path / "set").images[0][8, :, 0].astype(float)
    middle = np.linspace(255 * 350 / 1600, 255 * 1250 / 1600, 17)
    assert row == pytest.approx((middle[1:] + middle[:-1]) / 2, abs=3)


@pytest.mark.parametrize("chosen", [[0, 4, 7, 2, 5], [1], [6], [], [5, 5, 0]])
def test_joined_images_are_read_as_one_array(chosen):
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (n, 2, 2, 3), dtype=np.uint8) for n in (5, 3))
    joined = Joined(first, second)
    assert joined.shape == (8, 2, 2, 3) and len(joined) == 8
    chosen = np.array(chosen, dtype=int)
    np.testing.assert_array_equal(joined[chosen], np.concatenate([first, second])[chosen])
    with pytest.raises(ValueError, match="cannot be joined"):
        Joined(first, second[:, :1])
