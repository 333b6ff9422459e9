"""Class names and `find_class`."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from models.labels import Label, find_class, imagenet_labels, minivgg_labels

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_index = pytest.mark.skipif(not (SHARED / "index").is_dir(), reason="needs ../shared/data/index")

imagenet = SimpleNamespace(labels=imagenet_labels())
minivgg = SimpleNamespace(labels=minivgg_labels())


@needs_index
def test_imagenet_list_is_the_published_one():
    theirs = json.loads((SHARED / "index" / "imagenet_classes.json").read_text())
    ours = [", ".join(label.names) for label in imagenet.labels]
    assert [name.replace("'", "") for name in ours] == [name.replace("'", "") for name in theirs]  # jack-o'-lantern
    words = (SHARED / "index" / "synset_words.txt").read_text().split("\n")
    assert [label.synset for label in imagenet.labels] == [line.split()[0] for line in words if line]


def test_a_label_is_its_short_name_and_knows_the_others():
    siamese = imagenet.labels[284]
    assert siamese == "Siamese cat" and siamese.names == ("Siamese cat", "Siamese") and siamese.synset == "n02123597"
    assert Label(siamese.line).names == siamese.names
    copy = pickle.loads(pickle.dumps(siamese))
    assert copy == siamese and copy.synset == siamese.synset
    assert len(imagenet.labels) == 1000 and len({label.synset for label in imagenet.labels}) == 1000
    assert len(minivgg.labels) == 12 and minivgg.labels[2] == "cat"


@pytest.mark.parametrize(
    "wanted, index",
    [(284, 284), ("284", 284), (np.int64(340), 340), ("Siamese cat", 284), ("siamese", 284), ("SIAMESE_CAT", 284)]
    + [("zebra", 340), ("tabby", 281), ("n02123045", 281), ("Felis domestica", None), ("bull mastiff", 243), (0, 0)]
    + [
        ("tiger", 292),
        ("great white shark", 2),
        ("cardigan", 474),
        ("Cardigan", 264),
        ("  goldfish ", 1),
        ("chainsaw", 491),
    ],
)
def test_find_class(wanted, index):
    if index is None:
        with pytest.raises(ValueError, match="no class is called"):
            find_class(imagenet, wanted)
    else:
        assert find_class(imagenet, wanted) == index


def test_every_short_name_finds_its_class_unless_two_share_it():
    names = [str(label) for label in imagenet.labels]
    assert {name for name in names if names.count(name) > 1} == {"crane", "maillot"}
    for index, name in enumerate(names):
        if names.count(name) == 1:
            assert find_class(imagenet, name) == index


@pytest.mark.parametrize(
    "wanted, message",
    [
        ("siamise cat", "near names: Siamese cat"),
        ("retreiver", "golden retriever"),
        ("crane", "ambiguous, it may be 134 'crane', 517 'crane'"),
        ("cat", "ambiguous, it may be 281 'tabby, tabby cat', 282 'tiger cat'"),
        ("dog", "251 'dalmatian, coach dog, carriage dog' and 4 more$"),
        ("tigr", "no class is called 'tigr'; near names: tiger"),
        (1000, "class 1000 is out of range: this model has classes 0 to 999"),
        ("-1", "out of range"),
        (2.5, "an index or a name, got float"),
        (None, "an index or a name, got NoneType"),
        ("", "empty"),
        ("qqqqzzzz", "no class is called 'qqqqzzzz'"),
    ],
)
def test_refusals(wanted, message):
    with pytest.raises(ValueError, match=message):
        find_class(imagenet, wanted)


def test_a_model_without_names_takes_indices():
    weights = {"fc.weight": np.zeros((7, 3)), "fc.bias": np.zeros(7)}
    nameless = SimpleNamespace(labels=None, state_dict=lambda: weights)
    assert find_class(nameless, 6) == 6
    with pytest.raises(ValueError, match="classes 0 to 6"):
        find_class(nameless, 7)
    with pytest.raises(ValueError, match="has no class names"):
        find_class(nameless, "cat")


def test_a_class_has_a_name():
    for line in ("", "  ,", "n02123597 ,"):
        with pytest.raises(ValueError, match="a class label needs a name"):
            Label(line)


def test_a_few_classes_are_listed():
    few = SimpleNamespace(labels=minivgg_labels())
    with pytest.raises(ValueError, match="no class is called 'unicorn'; the classes are: .*cat, zebra"):
        find_class(few, "unicorn")
    with pytest.raises(ValueError, match="see the model's labels"):
        find_class(SimpleNamespace(labels=imagenet_labels()), "qqqqqq")
