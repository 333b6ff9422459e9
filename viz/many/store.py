"""A store: what techniques gave for many photographs, in a folder, written so that a kill costs only what is in flight.

    store.json       the question (techniques, options, weights, photographs), and each run: what it computed with
    parts/0000016.h5 the batch that begins with photograph 16: /table, its rows as CSV, and /arrays/NAME (N,...), with a
                     row for each photograph without an error, gzip behind a shuffle. float16 maps are in units of their
                     largest value, /scales/NAME (N,) float32
    table.csv        all rows, in order, once a run has ended
    lock             who is writing

HDF5 and not Zarr: h5py is in the core already, every language reads HDF5, and a batch's arrays with their rows are one
file that is renamed when it is whole, where Zarr keeps a file for each chunk of each array.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import platform
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.serialization import replacing
from models.mistakes import UserError

FORMAT = 2
ABSENT = object()


# ---- writing ---------------------------------------------------------------------------------------------------------


class Writer:
    """A store that this process alone writes to, inside `with Writer(path, question) as store:`.

    question: a dict as JSON has it. A store that answers another one, and one that another run writes to, raise
    UserError. `done` has the places that parts begin with, but for parts that a run before left with an error: their
    files may have been mended since.
    """

    def __init__(self, path: str | os.PathLike[str], question: dict) -> None:
        self.path = Path(path)
        (self.path / "parts").mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path)
        try:
            known = _facts(self.path)
            self.facts = known or {"format": FORMAT, "question": question, "runs": []}
            if known is None:
                self._write_facts()
            _same_question(self.path, self.facts["question"], json.loads(json.dumps(question)))
            for stray in (self.path / "parts").glob(".*.part"):
                stray.unlink()
            self.done = {int(part.stem) for part in _parts(self.path) if not _has_errors(part)}
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: Any) -> None:
        os.truncate(self._lock.fileno(), 0)  # ended, not killed
        self._lock.close()

    def note(self, run: dict) -> None:
        """Write down what a run computes or computed with; the same run again replaces what was noted of it."""
        runs = [one for one in self.facts["runs"] if one["began"] != run["began"]]
        self.facts["runs"] = [*runs, run]
        self._write_facts()

    def _write_facts(self) -> None:
        with replacing(self.path / "store.json") as temporary:
            temporary.write_text(json.dumps(self.facts, indent=1, ensure_ascii=False) + "\n", "utf-8")

    def put(self, first: int, rows: list[dict], arrays: dict, scales: dict | None = None) -> None:
        """Write a part: a row for each photograph from the place `first` on, and (N,...) arrays of those without
        error. scales: (N,) of the arrays that are in units of their largest value."""
        import h5py

        path = self._part_at(first)
        with h5py.File(path, "w", driver="core", backing_store=False) as file:  # in memory
            file["table"] = as_csv(rows)
            for name, array in arrays.items():
                _write(file, f"arrays/{name}", array)
            for name, scale in (scales or {}).items():
                file[f"scales/{name}"] = scale
            file.flush()
            content = file.id.get_file_image()
        with replacing(path) as temporary:  # here, and not in HDF5, it is a sentence that the disk is full
            temporary.write_bytes(content)
        self.done.add(first)

    def remembered(self, key: str, compute: Callable[[], dict]) -> dict:
        """What compute() gives, {name: (N,...) array}, kept under `key`: computed once, and then read."""
        first = _place_of(key)
        if first not in self.done:
            self.put(first, [{"key": key, "error": ""}], compute())
        with _part(self._part_at(first)) as file:
            return {name: _read(file, name, slice(None)) for name in file["arrays"]}

    def remembers(self, key: str) -> bool:
        """Whether something is kept under `key`."""
        return _place_of(key) in self.done

    def _part_at(self, first: int) -> Path:
        return self.path / "parts" / f"{first:08d}.h5"

    def finish(self) -> None:
        """Write table.csv."""
        with (
            replacing(self.path / "table.csv") as temporary,
            open(temporary, "w", encoding="utf-8", newline="") as file,
        ):
            columns, whole = None, csv.writer(file, lineterminator="\n")
            for rows in open_store(self.path).tables():
                for row in rows:
                    if columns is None:
                        whole.writerow(columns := list(row))
                    whole.writerow(row[name] for name in columns)


def _place_of(key: str) -> int:
    """A number for the file of what is kept under `key`."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "big")


def as_csv(rows: Any) -> str:
    """The rows, dicts of the same keys, as CSV with a header."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _write(file: Any, name: str, array: np.ndarray) -> None:
    """A chunk for all rows, compressed here: zlib lets other threads run, and HDF5's filters do not. Its strategy is to
    look for runs alone, for nothing else repeats in a map: as small, in 0.4 of the time."""
    array = np.ascontiguousarray(array)
    if not array.size:
        file.create_dataset(name, data=array)
        return
    dataset = file.create_dataset(
        name, array.shape, array.dtype, chunks=array.shape, compression="gzip", compression_opts=1, shuffle=True
    )
    shuffled = array.view(np.uint8).reshape(-1, array.itemsize).T.tobytes() if array.itemsize > 1 else array.tobytes()
    packing = zlib.compressobj(1, strategy=zlib.Z_RLE)
    dataset.id.write_direct_chunk((0,) * array.ndim, packing.compress(shuffled) + packing.flush())


def _locked(path: Path) -> Any:
    """The store's lock file, open and locked; the system frees it with the process, however that ends."""
    try:
        import fcntl
    except ImportError:
        raise UserError(f"{path} cannot be written here: stores need the file locks of Linux or macOS") from None
    file = open(path / "lock", "a+", encoding="utf-8")
    file.seek(0)
    owner = file.read().strip()
    host = owner.partition(" on ")[2].partition(",")[0]
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UserError(
            f"{path} is being written by {owner or 'another run'}: wait for it, or name another store"
        ) from None
    if host and host != platform.node():  # whose lock may not be seen from here
        file.close()
        raise UserError(f"{path} was left by {owner}: if that has ended, delete {path / 'lock'}")
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    file.flush()
    return file


def _facts(path: Path) -> dict | None:
    """What store.json says; None where there is none."""
    try:
        facts = json.loads((path / "store.json").read_text("utf-8"))
        known = facts["format"] == FORMAT and isinstance(facts["question"], dict) and isinstance(facts["runs"], list)
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError):
        known = False
    if not known:
        raise UserError(f"{path / 'store.json'} is not that of a store: name another folder")
    return facts


def _same_question(path: Path, stored: dict, asked: dict) -> None:
    if stored != asked:
        keys, *values = _first_difference(stored, asked)
        texts = ["absent" if one is ABSENT else json.dumps(one) for one in values]
        before, now = (text if len(text) <= 80 else text[:77] + "..." for text in texts)
        raise UserError(
            f"{path} answers another question: its {'.'.join(keys)} is {before}, not {now}; name another store"
        )


def _first_difference(one: Any, other: Any) -> tuple:
    """(Keys down to where two values first differ, ["techniques", "lrp", "rule"], and what each of them has there)."""
    if isinstance(one, list) and isinstance(other, list):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            before, now = one.get(key, ABSENT), other.get(key, ABSENT)
            if before != now:
                keys, before, now = _first_difference(before, now)
                return [str(key), *keys], before, now
    return [], one, other


# ---- reading ---------------------------------------------------------------------------------------------------------


def open_store(path: str | os.PathLike[str]) -> "Store":
    """The store in the folder `path`, for reading; also while it grows. Raises UserError where there is none."""
    return Store(path)


class Store:
    """What techniques gave for many photographs: `store[17]`, `store["cats/3.jpg"]`, `len(store)`, `store.table()`.

    facts: what was asked and what it was computed with. names: of the arrays. In a store that is not whole yet, rows
    are those that are there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        facts = _facts(self.path) if self.path.is_dir() else None
        if facts is None:
            raise UserError(f"there is no store at {self.path}: it would hold a store.json")
        self.facts, self.parts = facts, _parts(self.path)

    def __len__(self) -> int:
        """How many photographs have a row."""
        return sum(len(rows) for rows in self.tables())

    @property
    def names(self) -> list[str]:
        """Of the arrays; none where no photograph has an answer."""
        for part in self.parts:
            with _part(part) as file:
                if names := sorted(file.get("arrays", ())):
                    return names
        return []

    def tables(self) -> Iterator[list[dict]]:
        """The rows of part after part, in order: dicts of text."""
        for part in self.parts:
            with _part(part) as file:
                yield _rows(file)

    def table(self) -> list[dict]:
        """All rows, in order."""
        return [row for rows in self.tables() for row in rows]

    def pieces(self, *names: str) -> Iterator[tuple[list[dict], dict[str, np.ndarray]]]:
        """(rows without error, {name: (N,...) array}) of part after part, in order: memory for one part at a time.

        names: of the arrays (default: all). A part whose photographs all have an error is left out.
        """
        for part in self.parts:
            with _part(part) as file:
                rows = [row for row in _rows(file) if not row["error"]]
                if not rows:
                    continue
                known = names or sorted(file.get("arrays", ()))
                arrays = {name: _read(file, name, slice(None)) for name in known}
            yield rows, arrays

    def array(self, name: str) -> np.ndarray:
        """(N,...) of all photographs without error, in order, in memory at once. Raises KeyError if there are none."""
        found = [arrays[name] for _, arrays in self.pieces(name)]
        if not found:
            raise KeyError(f"{self.path} has no array {name!r}: no photograph in it has an answer")
        return np.concatenate(found)

    def __getitem__(self, wanted: int | str) -> tuple[dict, dict[str, np.ndarray]]:
        """(row, {name: array}) of a photograph, by its place or its name; no arrays where there was an error.

        Raises KeyError for one that is not there, and for a name that several have, in an archive.
        """
        if isinstance(wanted, str):
            wanted = self._place(wanted)
        for part in [part for part in self.parts if int(part.stem) <= wanted][-1:]:
            with _part(part) as file:
                rows = _rows(file)
                for place, row in enumerate(rows):
                    if row["photograph"] == str(wanted):
                        n = sum(not one["error"] for one in rows[:place])
                        names = () if row["error"] else sorted(file.get("arrays", ()))
                        return row, {name: _read(file, name, slice(n, n + 1))[0] for name in names}
        raise KeyError(f"{self.path} has no photograph {wanted!r}")

    def _place(self, name: str) -> int:
        """The first place of a photograph; it may stand in a list several times."""
        found = [row for rows in self.tables() for row in rows if row["name"] == name]
        if not found:
            raise KeyError(f"{self.path} has no photograph {name!r}")
        if len({row.get("sha256") for row in found}) > 1:
            places = ", ".join(row["photograph"] for row in found)
            raise KeyError(f"{self.path} has several photographs {name!r}: take one by its place, {places}")
        return int(found[0]["photograph"])


def _parts(path: Path) -> list[Path]:
    return sorted((path / "parts").glob("[0-9]*.h5"), key=lambda part: int(part.stem))


@contextlib.contextmanager
def _part(path: Path) -> Iterator[Any]:
    import h5py

    with h5py.File(path, "r") as file:
        yield file


def _has_errors(part: Path) -> bool:
    with _part(part) as file:
        return any(row["error"] for row in _rows(file))


def _rows(file: Any) -> list[dict]:
    return list(csv.DictReader(io.StringIO(file["table"].asstr()[()])))


def _read(file: Any, name: str, rows: Any) -> np.ndarray:
    if name not in file.get("arrays", ()):
        raise KeyError(f"there is no array {name!r}: the arrays are {', '.join(sorted(file.get('arrays', ())))}")
    array = file["arrays"][name][rows]
    if name in file.get("scales", ()):
        scale = file["scales"][name][rows]
        return array.astype(np.float32) * scale.reshape(-1, *[1] * (array.ndim - 1))
    return array
