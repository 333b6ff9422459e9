"""A node of an ONNX graph, with its attributes as Python's values."""

from typing import Any

import numpy as np

from ..hdf5 import shown


class Node:
    """One node: .op, .name, .inputs, .outputs, .opset, and its attributes."""

    def __init__(self, proto: Any, opset: int) -> None:
        from onnx.helper import get_attribute_value

        self.op, self.name, self.opset, self.proto = proto.op_type, proto.name, opset, proto
        self.inputs, self.outputs = [one for one in proto.input], list(proto.output)
        while self.inputs and not self.inputs[-1]:
            self.inputs.pop()
        values = {one.name: get_attribute_value(one) for one in proto.attribute}
        self.attributes = {name: _plain(value) for name, value in values.items()}

    def attribute(self, name: str, *default: Any) -> Any:
        if name not in self.attributes and not default:
            raise ValueError(f"it lacks its attribute {name}")
        return self.attributes.get(name, *default)

    def __str__(self) -> str:
        return f"node {shown(self.name or self.outputs[0], 100)!r}, operator {shown(self.op, 40)}"


def _plain(value: Any) -> Any:
    """Texts are texts; 0.001 is kept as a float32, whose nearest short number is meant."""
    if isinstance(value, float):
        return float(str(np.float32(value)))
    return value.decode() if isinstance(value, bytes) else value
