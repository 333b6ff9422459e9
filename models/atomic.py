"""Writing a file so that a reader sees the old one or the new one, whole, and never half of either."""

import os
import secrets
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path):
    """Yield a temporary path beside `path`; on leaving, flush it to disk and move it into place.

    Whatever goes wrong inside (an exception, Ctrl-C, a full disk), the temporary file goes and `path` is as it was.
    A process killed outright leaves `path` whole and at worst a stray `.name.xxxxxxxx.part` beside it.
    Raises OSError, with a sentence, where `path` cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it first")
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
