"""How results are put into words: counts, and how far a loss fell."""

from viz.commands.pictures import fall
from viz.commands.record import source_name
from viz.commands.tables import counted


def test_one_thing_is_no_plural():
    assert [counted(n, "photograph") for n in (0, 1, 2)] == ["0 photographs", "1 photograph", "2 photographs"]


def test_photographs_are_called_by_their_folder_or_their_archive(tmp_path):
    (tmp_path / "photos.v2").mkdir()
    (tmp_path / "photos.tar.gz").touch()
    (tmp_path / ".list").touch()
    assert [source_name(tmp_path / name) for name in ("photos.v2", "photos.tar.gz", ".list")] == [
        "photos.v2",
        "photos",
        ".list",
    ]


def test_what_is_left_of_a_loss_is_not_rounded_away():
    assert fall([12.3, 0.45]) == "from 12.3 to 0.45 (-96.3 %)" and fall([2.0, 3.0]) == "from 2 to 3 (+50.0 %)"
    assert fall([114400, 25.22]) == "from 1.144e+05 to 25.22 (-99.978 %)"
    assert fall([4.0, 0.0]) == "from 4 to 0 (-100.0 %)" and fall([0.0, 4.0]) == "from 0 to 4"
