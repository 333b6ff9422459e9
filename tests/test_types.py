"""Public functions have types, and mypy finds what is given wrongly to them."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["minigrad", "minigrad.functional", "models", "viz"]

WRONG = {
    'mg.grad("score", "image")': 'Argument 1 to "grad" has incompatible type "str"',
    'F.relu("image")': 'Argument 1 to "relu" has incompatible type "str"',
    "F.conv2d(x, x, stride=0.5)": 'Argument "stride" to "conv2d" has incompatible type "float"',
    "F.softmax(x)": 'Missing positional argument "dim" in call to "softmax"',
    'nn.Conv2d(3, "64", 3)': 'Argument 2 to "Conv2d" has incompatible type "str"',
    "x.sum(axes=1)": 'Unexpected keyword argument "axes" for "sum" of "Tensor"',
    'models.load_image("cat.png", "large")': 'Argument 2 to "load_image" has incompatible type "str"',
    "models.build(name=7)": 'Argument "name" to "build" has incompatible type "int"',
    "viz.saliency(net, image, layer=5)": 'Argument "layer" to "saliency" has incompatible type "int"',
    "viz.pgd(net, image, epsilon='8/255')": 'Argument "epsilon" to "pgd" has incompatible type "str"',
    "viz.grad_cam(image, net)": 'Argument 1 to "grad_cam" has incompatible type "ndarray',
    "viz.maximize(net, 3).pictures": '"Optimized" has no attribute "pictures"',
    "viz.Jpeg(quality='high')": 'Argument "quality" to "Jpeg" has incompatible type "str"',
    "viz.attacks.project(image, image, '1')": 'Argument 3 to "project" has incompatible type "str"',
    "optim.SGD(3, lr=0.1)": 'Argument 1 to "SGD" has incompatible type "int"',
}
HEAD = "import models\nimport minigrad as mg\nfrom minigrad import functional as F, nn, optim\nx = mg.Tensor([1.0])\n"
HEAD += "import viz\nnet = models.load('minivgg')\nimage = models.load_image('cat.png')\n"


def functions(package):
    """{name: function} of what a package publishes."""
    module = importlib.import_module(package)
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    found = {name: inspect.unwrap(value) for name in names if callable(value := getattr(module, name))}
    return {name: function for name, function in found.items() if inspect.isfunction(function)}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_function_has_types(package):
    published = functions(package)
    assert len(published) >= 10
    for name, function in published.items():
        signature = inspect.signature(function)
        bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
        assert not bare, f"{package}.{name}: {bare} without types"
        assert signature.return_annotation is not signature.empty, f"{package}.{name}: no type of what it returns"


def bare(function):
    """The parameters of a function's syntax tree that have no type, and "return"."""
    spec = function.args
    parameters = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *filter(None, (spec.vararg, spec.kwarg))]
    untyped = [p.arg for p in parameters if p.annotation is None and p.arg not in ("self", "cls")]
    return untyped + ["return"] * (function.returns is None)


METHODS = ("__init__", "__call__", "__len__", "__contains__")  # public besides those without an underscore


@pytest.mark.parametrize(
    "package", ["minigrad", "minigrad.functional", "minigrad.nn", "minigrad.optim", "models", "viz"]
)
def test_every_method_of_a_public_class_has_types(package):
    module, found = importlib.import_module(package), 0
    for cls in filter(inspect.isclass, (getattr(module, n) for n in getattr(module, "__all__", vars(module)))):
        if cls.__module__.split(".")[0] != package.split(".")[0]:
            continue
        for name, method in vars(cls).items():
            method = getattr(method, "__func__", getattr(method, "fget", None) or method)
            public = not name.startswith("_") or name in METHODS
            if not public or not inspect.isfunction(method) or "<lambda>" in method.__qualname__:
                continue
            signature, found = inspect.signature(method), found + 1
            untyped = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name != "self"]
            assert untyped in ([], ["cls"]), f"{cls.__name__}.{name}: {untyped} without types"
    assert found >= 5


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# Of the modules behind the packages: their functions, and the methods of their classes, without an underscore. The
# course's stages are a student's; of kernels the door is called, by the engine.
TYPED = {"viz": 1.0, "models": 1.0, "minigrad": 1.0}


@pytest.mark.parametrize("package", TYPED)
def test_what_is_behind_the_packages_has_types(package):
    typed, count = 0, 0
    for path in (ROOT / package).rglob("*.py"):
        if {"course", "kernels"} & {*path.relative_to(ROOT).parts}:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        for node in [node for owner in (tree, *classes) for node in owner.body if isinstance(node, FUNCTIONS)]:
            if not node.name.startswith("_"):
                typed, count = typed + (not bare(node)), count + 1
    assert typed >= TYPED[package] * count, f"{typed} of {count}"


def test_mypy_finds_what_is_wrong_in_a_users_code(tmp_path):
    snippet = tmp_path / "user.py"
    snippet.write_text(HEAD + "y = F.relu(x) + F.softmax(x, 0).sum(axis=0)\n" + "\n".join(WRONG) + "\n", "utf-8")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", str(snippet)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    lines = [line for line in done.stdout.splitlines() if f"{snippet.name}:" in line and ": error:" in line]
    first = HEAD.count("\n") + 2
    for n, (code, sentence) in enumerate(WRONG.items(), first):
        assert any(f":{n}: " in line and sentence in line for line in lines), (code, done.stdout)
    assert not any(f":{first - 1}: " in line for line in lines), done.stdout
