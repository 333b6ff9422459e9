"""The path of the module that each node of an ONNX graph comes from, by what its exporter wrote.

torch before 2.9     the node's name, "/layer1/layer1.0/conv1/Conv": the modules on the way, then the operator
torch since          metadata "pkg.torch.onnx.name_scopes", "['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d']";
                     its nodes are called "node_conv2d_3". What was fused is called by its weight
others               the node's name, or the name of its weight or output
"""

import ast
import collections
from collections.abc import Container, Sequence
from typing import Any

from .onnx_node import Node

SCOPES = "pkg.torch.onnx.name_scopes"


def paths(nodes: Sequence[Any], constants: Container[str]) -> list:
    """[path] for each node, a tuple of names; a module of several nodes has the operators as its last names."""
    modules = [_module(node, constants) for node in nodes]
    count = collections.Counter(modules)
    outer = {path[:depth] for path in modules if path for depth in range(len(path))}
    found = []
    for node, path in zip(nodes, modules, strict=True):
        if path is None:
            found.append(None)
        elif path in outer or count[path] > 1 and node.op_type not in ("Relu", "Conv"):
            found.append((*path, node.op_type.lower()))
        else:
            found.append(path)
    return found


def path_of(node: Node) -> tuple:
    """The path of a node that no module is known of."""
    return (node.name or node.outputs[0] or node.op.lower(),)


def _module(node: Any, constants: Container[str]) -> Any:
    """The names of the module, () for the whole network, None if nothing tells."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), None)
    weight = next((one for one in node.input if one in constants and one.endswith(".weight")), None)
    if scopes is not None:
        if weight is not None and node.op_type in ("Conv", "Gemm", "MatMul", "BatchNormalization", "ConvTranspose"):
            return tuple(weight.removesuffix(".weight").split("."))
        try:
            names = [str(one) for one in ast.literal_eval(scopes)]
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
        return tuple(names[-2].split(".")) if len(names) > 1 and names[-2] else ()
    if node.name.startswith("/"):
        path, last = "", ""
        for part in node.name.split("/")[1:-1]:  # of a Sequential's, "layer1" and then "layer1.0"
            path += part.removeprefix(last) if last and part.startswith(f"{last}.") else f".{part}"
            last = part
        return tuple(path[1:].split(".")) if path else ()
    if weight is not None:
        return tuple(weight.removesuffix(".weight").split("."))
    return None
