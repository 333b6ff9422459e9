"""A strategy that edits valid ONNX files as messages: sound files of absurd numbers, missing inputs, cycles."""

from hypothesis import strategies as st

NUMBERS = (0, 1, -1, 2, 3, 7, 64, 1 << 12, 1 << 20, 1 << 31, -(1 << 40), (1 << 62))
OPERATORS = (
    "Relu",
    "Conv",
    "Concat",
    "Split",
    "Expand",
    "Tile",
    "Range",
    "ConstantOfShape",
    "Reshape",
    "MatMul",
    "Resize",
)
OPERATORS += (
    "Pad",
    "Slice",
    "Gather",
    "ReduceMean",
    "If",
    "Loop",
    "Identity",
    "ConvTranspose",
    "Shape",
    "Softmax",
    "Flatten",
    "SpaceToDepth",
    "DepthToSpace",
    "??",
)
PLACES = ("w", "/etc/passwd", "../w", "/dev/zero", "", "input", "input/../input")


@st.composite
def edited_onnx(draw, seeds):
    """One of `seeds` with one to five values, names, shapes or operators changed."""
    from onnx import load_model_from_string

    model = load_model_from_string(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 5))):
        draw(st.sampled_from((_attribute, _rewire, _operator, _dimensions, _external, _input, _reorder)))(
            draw, model.graph
        )
    return model.SerializeToString()


def _node(draw, graph):
    return graph.node[draw(st.integers(0, len(graph.node) - 1))]


def _attribute(draw, graph):
    node = _node(draw, graph)
    if node.attribute:
        one = node.attribute[draw(st.integers(0, len(node.attribute) - 1))]
        one.ints[:] = draw(st.lists(st.sampled_from(NUMBERS), max_size=5))
        one.i = draw(st.sampled_from(NUMBERS))


def _rewire(draw, graph):
    node = _node(draw, graph)
    names = [name for other in graph.node for name in (*other.input, *other.output)] + ["nowhere", ""]
    values = node.input if draw(st.booleans()) else node.output
    if values:
        values[draw(st.integers(0, len(values) - 1))] = draw(st.sampled_from(names))


def _operator(draw, graph):
    _node(draw, graph).op_type = draw(st.sampled_from(OPERATORS))


def _dimensions(draw, graph):
    if graph.initializer:
        tensor = graph.initializer[draw(st.integers(0, len(graph.initializer) - 1))]
        tensor.dims[:] = draw(st.lists(st.sampled_from(NUMBERS), max_size=5))
        tensor.data_type = draw(st.sampled_from((1, 7, 10, 16, 9, 8, 23, 99)))


def _external(draw, graph):
    if graph.initializer:
        tensor = graph.initializer[0]
        tensor.data_location = 1
        for key, value in (
            ("location", draw(st.sampled_from(PLACES))),
            ("offset", str(draw(st.sampled_from(NUMBERS)))),
        ):
            tensor.external_data.add(key=key, value=value)


def _input(draw, graph):
    dimensions = graph.input[0].type.tensor_type.shape.dim
    if dimensions:
        dimensions[draw(st.integers(0, len(dimensions) - 1))].dim_value = draw(st.sampled_from(NUMBERS))


def _reorder(draw, graph):
    nodes = list(graph.node)[::-1]
    del graph.node[:]
    graph.node.extend(nodes)
