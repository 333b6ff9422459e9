"""The constants of tuning follow the caches: those of the machine they were measured on, smaller, larger, unknown."""

from pathlib import Path

import pytest

from minigrad.kernels.cpu import tuning

pytestmark = pytest.mark.host("caches of a CPU")

MEASURED = {"OPERAND_BYTES": 1 << 20, "WINDOW_BYTES": 3 << 20, "BLOCK_BYTES": 6 << 20, "LARGEST_WHOLE_U": 6 << 20}
MEASURED |= {"U_AT_ONCE": 5 << 18, "NUMBERS_OF_U": 1 << 13, "FEW_WEIGHTS": 12 << 10}  # before they were derived


def describe(folder, *caches):
    """Folders as Linux has them, one for each (level, type, size)."""
    for number, cache in enumerate(caches):
        (folder / f"index{number}").mkdir(parents=True)
        for name, text in zip(("level", "type", "size"), cache, strict=True):
            (folder / f"index{number}" / name).write_text(text + "\n")


def constants(folder):
    """What the module would hold on a machine that describes its caches in `folder`."""
    source = Path(tuning.__file__).read_text("utf-8")
    assert source.count(f'"{tuning.CACHES}"') == 1
    exec(source.replace(f'"{tuning.CACHES}"', repr(str(folder))), found := {})
    return {name: found[name] for name in MEASURED}


@pytest.mark.parametrize(("first", "second", "times_first", "times_second"), [
    ("48K", "1024K", 1, 1),
    ("32K", "512K", 1, 1),  # smaller ones count as those measured on
    ("64K", "1280K", 4 / 3, 5 / 4),
    ("128K", "16384K", 2, 2),  # and the largest as twice those
])  # fmt: skip
def test_constants_follow_the_caches(first, second, times_first, times_second, tmp_path):
    describe(
        tmp_path, ("1", "Data", first), ("1", "Instruction", "4096K"), ("2", "Unified", second), ("3", "Unified", "9K")
    )
    for name, value in constants(tmp_path).items():
        times = times_first if name in ("NUMBERS_OF_U", "FEW_WEIGHTS") else times_second
        assert value == int(MEASURED[name] * times), name


def test_what_the_system_does_not_say_is_the_default(tmp_path):
    assert tuning.cache_sizes(tmp_path / "nothing") == tuning.DEFAULT == (32 << 10, 1 << 20)
    describe(tmp_path, ("1", "Data", "64K"), ("2", "Unified", "unknown"), ("x", "Data", "8K"))
    (tmp_path / "index3").mkdir()
    assert tuning.cache_sizes(tmp_path) == (64 << 10, 1 << 20)
    assert constants(tmp_path / "nothing") == MEASURED
