"""Small valid files of every kind that is read: where damage starts from."""

import io
import json

import h5py
import numpy as np
from PIL import Image

from minigrad import nn, serialization
from models.architectures.vgg import minivgg_layers
from models.labels import minivgg_labels
from models.layers import Preprocess
from models.model import Model
from models.weights_file import save
from tests.models.layouts import write_keras1, write_keras2, write_keras3
from tests.models.torch_format import write_state_dict

RNG_SEED = 0


def _encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()


def pictures():
    """A picture of 12 x 9 pixels in every format, colour mode and compression."""
    noise = np.random.default_rng(RNG_SEED).integers(0, 256, (9, 12, 4)).astype(np.uint8)
    rgba, rgb, grey = Image.fromarray(noise), Image.fromarray(noise[:, :, :3]), Image.fromarray(noise[:, :, 0])
    deep = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    made = [*pngs()]
    made += [_encoded(rgb, "JPEG", exif=turned), _encoded(rgb, "JPEG", progressive=True, quality=40)]
    made += [_encoded(grey, "JPEG"), _encoded(rgb.convert("CMYK"), "JPEG")]
    made += [_encoded(rgba, "WEBP"), _encoded(rgba, "WEBP", lossless=True, exif=turned)]
    made += [_encoded(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)])]
    made += [_encoded(rgb, "GIF"), _encoded(rgba, "GIF", save_all=True, append_images=[rgba.rotate(180)])]
    made += [_encoded(rgb, "TIFF", compression=kind) for kind in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg")]
    made += [_encoded(rgb, "TIFF", compression="packbits"), _encoded(grey.convert("1"), "TIFF", compression="group4")]
    made += [_encoded(deep, "TIFF"), _encoded(Image.fromarray(noise[:, :, 0] / np.float32(255)), "TIFF")]
    made += [_encoded(rgb, "BMP"), _encoded(grey.convert("P"), "BMP"), _encoded(grey.convert("1"), "BMP")]
    return made + [
        _encoded(rgb, "PPM"),
        _encoded(grey, "PPM"),
        _encoded(grey.convert("1"), "PPM"),
        b"P3 2 2 9 1 2 3 4 5 6 7 8 9 1 2 3",
    ]


def pngs():
    noise = np.random.default_rng(RNG_SEED).integers(0, 256, (9, 12, 4)).astype(np.uint8)
    rgba = Image.fromarray(noise)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    deep = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    made = [_encoded(rgb, "PNG", exif=turned), _encoded(rgba, "PNG"), _encoded(grey, "PNG"), _encoded(deep, "PNG")]
    made += [_encoded(rgb.quantize(16), "PNG", transparency=3), _encoded(grey.convert("1"), "PNG")]
    return made + [_encoded(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)])]


def small_model():
    layers = minivgg_layers(((2,), (3, 3)), 4, 12, np.random.default_rng(RNG_SEED))
    layers["fire"] = nn.Sequential({"split": nn.Parallel({"a": nn.Linear(12, 2), "b": nn.Linear(12, 10)})})
    return Model({"preprocess": Preprocess(std=(4, 5, 6)), **layers}, "tiny", (20, 24), minivgg_labels())


def weights_files(folder):
    """Our own: as they are saved, half as long, and in HDF5's oldest version, whose metadata have no checksums."""
    path = folder / "seed.h5"
    made = []
    for half in (False, True):
        save(small_model(), path, half=half)
        made.append(path.read_bytes())
    old = folder / "old.h5"
    with h5py.File(path) as source, h5py.File(old, "w", libver=("earliest", "v108")) as file:
        for name in source:
            source.copy(name, file)
        file.attrs.update(source.attrs)
    return [*made, old.read_bytes()]


def keras_files(folder):
    """Keras' three layouts, of a network of two layers."""
    model, path = small_model(), folder / "keras.h5"
    layers = {name: model[name] for name in ("conv1_1", "conv2_1")}
    few = Model({"preprocess": model["preprocess"], **layers}, "tiny", (20, 24))
    made = []
    for write in (write_keras1, write_keras2, write_keras3):
        write(path, few)
        made.append(path.read_bytes())
    return made


STATE = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.array([1.5, -2], np.float32)}


def torch_files(folder):
    """A .pth in each format: a zip archive, and the one before."""
    path, made = folder / "seed.pth", []
    for legacy in (False, True):
        write_state_dict(path, STATE, legacy)
        made.append(path.read_bytes())
    return made


def npz_files(folder):
    made = []
    for write in (np.savez, np.savez_compressed):
        write(folder / "seed.npz", **STATE, **{"b.weight": np.asfortranarray(np.ones((2, 3, 3, 3)))})
        made.append((folder / "seed.npz").read_bytes())
    return made


def safetensors_files(folder):
    header = {"a.weight": {"dtype": "F32", "shape": [2, 3, 1, 1], "data_offsets": [0, 24]}}
    header["a.bias"] = {"dtype": "BF16", "shape": [2], "data_offsets": [24, 28]}
    text = json.dumps(header).encode()
    return [len(text).to_bytes(8, "little") + text + np.ones(7, "<f4").tobytes()]


def keras_archives(folder):
    from tests.models import test_keras_archive

    made = []
    for arguments in test_keras_archive.seeds():
        test_keras_archive.write(folder / "seed.keras", *arguments)
        made.append((folder / "seed.keras").read_bytes())
    return made


def keras_networks(folder):
    """model.save("x.h5"), its model_config of variable and of fixed size."""
    from tests.models import test_keras_h5

    made = []
    for fixed in (False, True):
        test_keras_h5.write(folder / "seed.h5", fixed=fixed)
        made.append((folder / "seed.h5").read_bytes())
    return made


def onnx_files(folder):
    """A block with a sum, a shape that is computed, and a head. Without the package there are none."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return []
    arrays = {"w": np.ones((3, 3, 3, 3), np.float32), "fc": np.ones((2, 3), np.float32), "t": np.array([0, -1])}
    arrays |= {"i": np.array([2, 0]), "steps": np.array([2]), "at": np.array([0]), "end": np.array([99])}
    shapes = [
        helper.make_node("Gather", ["x", "i"], ["g"], "gather", axis=1),
        helper.make_node("Slice", ["g", "at", "end", "steps", "steps"], ["l"], "slice"),
        helper.make_node("SpaceToDepth", ["l"], ["q"], "deep", blocksize=2),
        helper.make_node("DepthToSpace", ["q"], ["d"], "wide", blocksize=2),
        helper.make_node("Cast", ["d"], ["k"], "cast", to=1),
        helper.make_node("Flatten", ["k"], ["y"], "flat", axis=-3),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Add", ["r", "x"], ["s"], "add"),
        helper.make_node("MaxPool", ["s"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["m"], ["p"], "gap"),
        helper.make_node("Reshape", ["p", "t"], ["f"], "view"),
        helper.make_node("Gemm", ["f", "fc"], ["y"], "fc", transB=1),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 16, 16]), ("y", [1, 2]))
    ]
    initial = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graphs = [helper.make_graph(some, "seed", values[:1], values[1:], initial) for some in (nodes, shapes)]
    made = [helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]) for graph in graphs]
    return [model.SerializeToString() for model in made]


def state_dicts(folder):
    serialization.save(folder / "state.h5", STATE)
    return [(folder / "state.h5").read_bytes()]
