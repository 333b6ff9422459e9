"""Classic mistakes, each a small change of a solution, and words of the sentence that must name it."""

# stage: ((what stands in the solution, what a student wrote, words of the sentence), ...)
MISTAKES = {
    1: (
        ("(other.value, self.value)", "(self.value, other.value)", "slopes of a product are swapped"),
        ("(n * self.value ** (n - 1),)", "(n * self.value**n,)", "exponent is not taken down"),
        ("found[parent] = found.get(parent, 0.0) + found[x]", "found[parent] = found[x]", "overwritten where a value"),
        ("            if top not in done:\n", "            if True:\n", "visited twice"),
        ("    return result\n", "    return result[::-1]\n", "backwards: parents come first"),
        (
            "missing = [parent for parent in top.parents if parent not in done]",
            "missing = []",
            "some Numbers are missing",
        ),
        ("            stack += missing\n", "            stack = missing + stack\n", "still running after"),
        ("    found = {last: 1.0}\n", "    found = gradients.found\n    found[last] = 1.0\n", "AttributeError"),
        (
            "    found = {last: 1.0}\n",
            "    found = globals().setdefault('kept', {})\n    found[last] = 1.0\n",
            "the first pass's gradients are still there",
        ),
        (
            "    result, done, stack = [], set(), [last]\n",
            "    return [y for x in last.parents for y in order(x)] + [last]\n",
            "twice",
        ),
        (
            "    result, done, stack = [], set(), [last]\n",
            "    done, result = set(), []\n    def visit(x):\n        if x in done:\n            return\n"
            "        done.add(x)\n"
            "        [visit(y) for y in x.parents]\n        result.append(x)\n    visit(last)\n    return result\n",
            "it calls itself too deep",
        ),
        ("    return result\n", "    result\n", "a `return` is missing"),
        ("    return found\n", "    return found[\n", "SyntaxError"),
    ),
    2: (
        ("np.asarray(data, np.float32)", "np.asarray(data)", "float64 creeps in"),
        ("np.asarray(data) if isinstance(data, np.ndarray | np.generic) else ", "", "the dtype is float32"),
        ("    return g.sum(axis=stretched, keepdims=True)\n", "    return g\n", "broadcast axes are not summed"),
        ("axis=stretched, keepdims=True", "axis=stretched", "keepdims is missing"),
        ("g.sum(axis=stretched", "g.mean(axis=stretched", "the mean is taken"),
        ("    g = g.sum(axis=tuple(range(g.ndim - len(shape))))\n", "", "broadcast axes are not summed"),
        ("sum_to(g * b, a.shape), sum_to(g * a, b.shape)", "sum_to(g * a, a.shape), sum_to(g * b, b.shape)", "swapped"),
        ("return sum_to(g, a.shape), sum_to(g, b.shape)", "return g, g", "broadcast axes are not summed"),
        ("np.expand_dims(g, axis)", "np.expand_dims(g, 1 - axis)", "came back at another place"),
        (
            "np.broadcast_to(np.expand_dims(g, axis), shape)",
            "np.broadcast_to(np.expand_dims(g, axis), shape) / shape[axis]",
            "gets all",
        ),
        ("        x[place] = value - h\n", "        x[place] = value\n", "only x + h is moved"),
        ("/ (2 * h)", "/ h", "the two points are 2 h apart"),
        ("        x[place] = value\n        found", "        found", "not put back"),
        ("np.array(x, np.float64)", "x.copy()", "rounding spoils it"),
    ),
    3: (
        (
            "        self.inputs = tuple(tensor(x) for x in inputs)\n",
            "        self.inputs = tuple(Tensor(tensor(x).data) for x in inputs)\n",
            "copies cut",
        ),
        ("self.inputs)), self)", "self.inputs)))", "c.function is not the Add"),
        ("sum_to(g * b, a.shape), sum_to(g * a, b.shape)", "g * b, g * a", "broadcast axes are not summed"),
        ("sum_to(g * b, a.shape), sum_to(g * a, b.shape)", "sum_to(g * a, a.shape), sum_to(g * b, b.shape)", "swapped"),
        ("(g * self.n * x ** (self.n - 1),)", "(g * self.n * x**self.n,)", "exponent is not taken down"),
        ("(g * self.n * x ** (self.n - 1),)", "(self.n * x ** (self.n - 1),)", "g is left out"),
        ("(x.data > 0)", "(x.data >= 0)", "the derivative at 0"),
        ("(x.data > 0)", "(g.data > 0)", "ReLU's gate is its input's sign"),
        ("(x.data > 0).astype(x.dtype)", "(x.data > 0).astype(float)", "float64 creeps in"),
        ("sum_to(g @ swap(b), a.shape)", "sum_to(g @ b, a.shape)", "matmul"),
        ("sum_to(g @ swap(b), a.shape)", "g @ swap(b)", "the batch is not summed"),
        (
            "found[id(x)] = found[id(x)] + part if id(x) in found else part",
            "found[id(x)] = part",
            "overwritten where a value",
        ),
        ("np.ones_like(output.data)", "np.ones(output.shape)", "float64 creeps in"),
        ("rules[type(f)](f, g) if type(f) in rules else f.vjp(g)", "f.vjp(g)", "rules are not looked at"),
        ("g = found[id(t)]\n", "g = Tensor(found[id(t)].data)\n", "the values differ"),
        (
            "[found[id(x)] if id(x) in found else Tensor(np.zeros_like(x.data)) for x in inputs]",
            "[found[id(x)] for x in inputs]",
            "KeyError",
        ),
        (
            "                found[id(x)] = found[id(x)] + part if",
            "                found[id(x)] = Tensor(found[id(x)].data + part.data) if",
            "the graph is cut",
        ),
    ),
}
