"""Fetching official weights: resumed where the connection was cut, checked, converted, and kept for this user."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path

from .catalogue import SOURCES, Source, home
from .convert import convert
from .hdf5 import WeightsError
from .weights_file import save

CHUNK = 1 << 18
LARGEST = 4 << 30
SECONDS = 30  # without a byte, and the connection counts as cut


class DownloadError(RuntimeError):
    """A file that could not be fetched; the message says why and what to do."""


def download(name: str, progress: bool = True) -> Path:
    """The path of the converted weights of one of SOURCES, such as "resnet50", fetched if they are not there yet.

    The official file is put in `catalogue.home()`, or found there if somebody put it there by hand; it must have the
    published checksum. A file that was fetched is removed once it is converted. progress: show a bar.
    Raises DownloadError, WeightsError, or OSError where the folder cannot be written.
    """
    if name not in SOURCES:
        raise ValueError(f"there is no official file of {name!r} to download: choose from {', '.join(SOURCES)}")
    source, folder = SOURCES[name], home()
    converted, original = folder / f"{name}.h5", folder / source.filename
    if converted.is_file():
        return converted
    folder.mkdir(parents=True, exist_ok=True)
    by_hand = original.is_file()
    if by_hand:
        _check(original, source, "put the right file in its place, or remove it to have it fetched")
    else:
        fetch(source, original, progress)
    model = convert(original, name, source.preprocessing)
    model.provenance["url"] = source.url
    save(model, converted)
    if not by_hand:
        original.unlink()
    return converted


def fetch(source: Source, path: Path, progress: bool = True, attempts: int = 4, pause: float = 0.5) -> Path:
    """Fetch `source.url` to `path`, going on from `path`.part if that exists, and check it.

    A cut connection is taken up again where it was cut, up to `attempts` times without a new byte in between, `pause`
    seconds apart and doubling. Nothing is at `path` before the checksum is right. Raises DownloadError.
    """
    part = path.with_name(path.name + ".part")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            complete = _transfer(source.url, part, progress)
        except urllib.error.HTTPError as error:
            raise DownloadError(_advice(source, path, f"the server answers {error.code} ({error.reason})")) from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.filename:  # a file of ours, not the network
                raise
            complete, reason = False, getattr(error, "reason", None) or error
        else:
            reason = "the connection was cut"
        if complete:
            try:
                _check(part, source, "it was removed; run the command again")
            except WeightsError:
                part.unlink()
                raise
            part.replace(path)
            return path
        failures = failures + 1 if not part.exists() or part.stat().st_size == before else 1
        if failures >= attempts:
            raise DownloadError(_advice(source, path, reason))
        time.sleep(pause * 2 ** (failures - 1))


def _transfer(url: str, part: Path, progress: bool) -> bool:
    """Append to `part` what is missing of it; True once it is as long as the server said."""
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={"User-Agent": "minigrad"} | ({"Range": f"bytes={have}-"} if have else {})
    )
    try:
        response = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send; the checksum will tell
            return True
        raise
    with response:
        if response.status != 206:  # the server starts from the beginning
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        if (total or 0) > LARGEST:
            raise DownloadError(f"{url} is said to be {total:,} bytes long: that is not the file")
        with (
            open(part, "ab" if have else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=not progress) as bar,
        ):
            while data := response.read(CHUNK):
                have += len(data)
                if have > LARGEST:
                    raise DownloadError(f"{url} sends without end: that is not the file")
                file.write(data)
                bar.update(len(data))
    return total is None or have >= total


def _check(path: Path, source: Source, advice: str) -> None:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, source.algorithm).hexdigest()
    if not digest.startswith(source.digest):
        raise WeightsError(
            f"{path} has {source.algorithm} {digest}, expected {source.digest}: it is damaged or another file; {advice}"
        )


def _advice(source: Source, path: Path, reason: object) -> str:
    return (
        f"{source.url} could not be fetched ({reason}): run the command again to go on, or without a network put a "
        f"copy of that file at {path} and run it then"
    )
