"""Reading named arrays from NumPy's .npz, without unpickling and without trusting its sizes."""

import zipfile
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np

from ..hdf5 import WeightsError, shown


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of an .npz file. Raises WeightsError: damaged, arrays of objects, or sizes no weights can have."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > 64 * path.stat().st_size:
                raise WeightsError("it would unpack to more than 64 times its size: it is not opened")
            return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in archive.infolist()}
    except WeightsError as error:
        raise WeightsError(f"{path}: {shown(error)}") from None
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds on damaged files
        raise WeightsError(f"{path} is damaged ({shown(error)})") from None


def _array(archive: ZipFile, entry: ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran_order, dtype = read(file)
        if dtype.kind not in "fiu":
            raise WeightsError(f"{entry.filename} holds {dtype}, expected numbers")
        if int(np.prod(shape, dtype=object)) * dtype.itemsize > entry.file_size:
            raise WeightsError(f"{entry.filename} declares shape {shape}, more than it holds")
        data = np.frombuffer(file.read(), dtype)
    return data.reshape(shape, order="F" if fortran_order else "C")
