"""How results are put into words: counts, and how far a loss fell."""

from viz.commands.pictures import fall
from viz.commands.tables import counted


def test_one_thing_is_no_plural():
    assert [counted(n, "photograph") for n in (0, 1, 2)] == ["0 photographs", "1 photograph", "2 photographs"]


def test_what_is_left_of_a_loss_is_not_rounded_away():
    assert fall([12.3, 0.45]) == "from 12.3 to 0.45 (-96.3 %)" and fall([2.0, 3.0]) == "from 2 to 3 (+50.0 %)"
    assert fall([114400, 25.22]) == "from 1.144e+05 to 25.22 (-99.978 %)"
    assert fall([4.0, 0.0]) == "from 4 to 0 (-100.0 %)" and fall([0.0, 4.0]) == "from 0 to 4"
