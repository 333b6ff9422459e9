"""Steps of a computation, each with the path of the module that did it, as a network of named layers.

Modules of the original (layer1, layer1.0) become Graphs or Sequentials, where one value comes out of them, so layers
keep their dotted names; where more come out, their steps stand one level higher, joined by "_" (block_conv for
block.conv). Letters that a name of ours cannot hold, dots and slashes within one, become "_" too.
"""

import itertools
import re
from dataclasses import dataclass

from minigrad import nn


@dataclass
class Step:
    """`module` computes `output` of `inputs`, which are names of values; path: its module's names, its own last."""

    path: tuple
    module: nn.Module
    inputs: list
    output: str


def assembled(steps: list[Step], source: str, output: str) -> dict[str, nn.Module]:
    """{name: layer} of the chain, or of one Graph called "network", that makes the value `output` of `source`.

    A softmax at the end is a layer of its own behind it, for the scores before it to be found."""
    needed = _needed(steps, output)
    if len(needed) > 1 and isinstance(needed[-1].module, nn.Softmax):
        *before, last = needed
        layers = assembled(before, source, last.inputs[0])
        name = _sound("_".join(last.path))
        return layers | {name if name not in layers else "softmax_of_scores": last.module}
    items = _items(needed, 0, {output})
    if _is_chain(items, [source]):
        return {item.path[-1]: item.module for item in items}
    return {"network": _graph(items, [source], output)}


def _needed(steps: list[Step], output: str) -> list[Step]:
    """The steps that `output` depends on."""
    wanted, needed = {output}, []
    for step in reversed(steps):
        if step.output in wanted:
            wanted.update(step.inputs)
            needed.insert(0, step)
    return needed


def _items(steps: list[Step], depth: int, read_after: set) -> list[Step]:
    """`steps` with those of an inner module as one step each; names are unique. read_after: values that are needed."""
    items, place = [], 0
    runs = [
        list(run) for _, run in itertools.groupby(steps, lambda step: (step.path[depth], len(step.path) > depth + 1))
    ]
    for run in runs:
        place += len(run)
        if len(run[0].path) == depth + 1:
            items += run
            continue
        made = {step.output for step in run}
        later = read_after.union(*(step.inputs for step in steps[place:]))
        outputs = sorted(made & later)
        inner = _items(run, depth + 1, set(outputs))
        if len(outputs) == 1:
            taken = list(dict.fromkeys(one for step in run for one in step.inputs if one not in made))
            module = _sequential(inner) if _is_chain(inner, taken) else _graph(inner, taken, outputs[0])
            items.append(Step(run[0].path[: depth + 1], module, taken, outputs[0]))
        else:
            prefix = run[0].path[depth]
            items += [Step((f"{prefix}_{step.path[-1]}",), step.module, step.inputs, step.output) for step in inner]
    return _named(items)


def _named(items: list[Step]) -> list[Step]:
    """The same steps, their last names sound and unique among them."""
    named, taken = [], {nn.graph.INPUT, "preprocess"}
    for item in items:
        stem = name = _sound(item.path[-1])
        count = 0
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        named.append(Step((*item.path[:-1], name), item.module, item.inputs, item.output))
    return named


def _sound(name: str) -> str:
    """What a name of ours cannot hold, dots and slashes, as "_"."""
    return re.sub(r"[^\w-]+", "_", name).strip("_") or "layer"


def _is_chain(items: list[Step], taken: list[str]) -> bool:
    """Whether each step takes what the one before it gives, and nothing else."""
    outputs = [taken, *([item.output] for item in items)]
    return len(taken) == 1 and all(item.inputs == before for item, before in zip(items, outputs, strict=False))


def _sequential(items: list[Step]) -> nn.Sequential:
    return nn.Sequential({item.path[-1]: item.module for item in items})


def _graph(items: list[Step], taken: list[str], output: str) -> nn.Graph:
    reference = {taken[0]: nn.graph.INPUT} if len(taken) == 1 else {v: (nn.graph.INPUT, i) for i, v in enumerate(taken)}
    nodes = {}
    for item in items:
        nodes[item.path[-1]] = (item.module, [reference[one] for one in item.inputs])
        reference[item.output] = item.path[-1]
    return nn.Graph(nodes, reference[output])
