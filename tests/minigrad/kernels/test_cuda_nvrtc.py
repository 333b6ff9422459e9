"""Every CUDA kernel in every variant goes through NVIDIA's compiler, NVRTC, as CuPy calls it. That needs no GPU."""

import ast
import ctypes
import importlib
import importlib.metadata
import itertools
import pkgutil
import re
from pathlib import Path

import pytest

from minigrad.kernels import cuda
from minigrad.kernels.cuda import channel, pooling
from minigrad.kernels.cuda.launch import TYPES, Kernel

pytestmark = pytest.mark.host("kernels are compiled, not launched")

DISTRIBUTION = "nvidia-cuda-nvrtc-cu12"
NEWEST_OF_CUPY = 121  # CuPy 14 compiles for a newer GPU as if it were this one
OPTIONS = ("-ftz=true", "--device-as-default-execution-space")  # CuPy 14's
MODULES = [importlib.import_module(f"{cuda.__name__}.{module.name}") for module in pkgutil.iter_modules(cuda.__path__)]
CHOICES = {
    "T": TYPES.values(),
    "INDEX": ("int", "long long"),
    "V": (1, 4),
    "WINNER": (*pooling._WINNERS.values(), "T"),  # T where no winner is asked for
}


def constants(function):
    """The strings in a function's code that read an array."""
    return tuple(text for text in function.__code__.co_consts if isinstance(text, str) and "[i]" in text)


TERMS = {"column_sums": constants(channel._column_sums_of), "affine": constants(channel._affine_of)}


def kernels():
    return [value for module in MODULES for value in vars(module).values() if isinstance(value, Kernel)]


def variants():
    """Every kernel with every choice of its words."""
    for kernel in kernels():
        choices = {**CHOICES, "TERM": TERMS.get(kernel.name)}
        words = [word for word in choices if word in kernel.words]
        for choice in itertools.product(*(choices[word] for word in words)):
            yield kernel.of(**dict(zip(words, choice, strict=True)))


# ---- the compiler ----------------------------------------------------------------------------------------------------


class Compiler:
    """NVRTC, from NVIDIA's wheel; the test is skipped where that is not installed."""

    def __init__(self):
        try:
            files = importlib.metadata.files(DISTRIBUTION) or ()
        except importlib.metadata.PackageNotFoundError:
            files = ()
        paths = [file.locate() for file in files if file.name.startswith("libnvrtc.so")]
        if not paths:
            pytest.skip("no NVRTC, so no kernel is compiled for a GPU: pip install -e '.[nvrtc]'")
        self.library = ctypes.CDLL(str(paths[0]))

    def architectures(self):
        """What it compiles for and CuPy asks for, oldest first: 90 for compute capability 9.0."""
        count = ctypes.c_int()
        self.library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        known = (ctypes.c_int * count.value)()
        self.library.nvrtcGetSupportedArchs(known)
        return sorted(number for number in known if number <= NEWEST_OF_CUPY)

    def __call__(self, source, architecture):
        """(whether it compiles, what the compiler says)."""
        library, program, size = self.library, ctypes.c_void_p(), ctypes.c_size_t()
        options = [o.encode() for o in (f"-arch=sm_{architecture}", *OPTIONS, "--ptxas-options=-v")]
        code = library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
        assert code == 0, f"nvrtcCreateProgram gave {code}"
        code = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        said = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, said)
        library.nvrtcDestroyProgram(ctypes.byref(program))
        return code == 0, said.value.decode()


@pytest.fixture(scope="module")
def compiler():
    return Compiler()


# ---- the kernels -----------------------------------------------------------------------------------------------------


def test_no_kernel_and_no_choice_is_left_out():
    assert {kernel.name for kernel in kernels()} >= {"column_sums", "few_channels", "max_pool", "winograd_weight_grad"}
    assert len(TERMS["column_sums"]) == 3 and len(TERMS["affine"]) == 2
    sources = [kernel.source for kernel in variants()]
    assert len(set(sources)) == len(sources)
    for module in MODULES:
        calls = [
            node for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))) if type(node) is ast.Call
        ]
        chosen = {k.arg for call in calls if getattr(call.func, "attr", "") == "of" for k in call.keywords if k.arg}
        assert chosen <= {*CHOICES, "TERM"}, module.__name__


@pytest.mark.parametrize("place", [0, -1], ids=["oldest", "newest"])
def test_every_kernel_compiles_and_keeps_to_registers(compiler, place):
    architecture = compiler.architectures()[place]
    for kernel in variants():
        compiles, said = compiler(kernel.source, architecture)
        assert compiles, f"{kernel.name} for sm_{architecture} with {kernel.words}:\n{said}"
        assert f"Compiling entry function '{kernel.name}' for 'sm_{architecture}'" in said
        assert re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill", said) == [("0", "0")], said
        assert int(re.search(r"Used (\d+) registers", said)[1]) <= 128, said


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("total += TERM", "totl += TERM", 'identifier "totl" is undefined'),
        ("total += TERM;", "total += TERM", 'expected a ";"'),
        ("INDEX row = rows", "Index row = rows", 'identifier "Index" is undefined'),
    ],
)
def test_a_mistake_does_not_compile(compiler, right, wrong, said):
    source = channel._column_sums.source
    assert source.count(right) == 1
    assert compiler(source, compiler.architectures()[-1])[0]
    compiles, log = compiler(source.replace(right, wrong), compiler.architectures()[-1])
    assert not compiles and said in log
