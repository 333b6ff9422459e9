"""mg.profile: FLOPs and bytes by hand, shares, layers, threads, and what is left behind (nothing)."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn
from minigrad.autograd import _mode
from minigrad.tools import cost
from minigrad.tools.profile import Limits, Operation, limits


def tensor(*shape, dtype=np.float32):
    return mg.Tensor(np.random.default_rng(0).standard_normal(shape).astype(dtype), requires_grad=True)


def network():
    rng = np.random.default_rng(0)
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 4, 3, padding=1, rng=rng),
            "relu1": nn.ReLU(),
            "fire": nn.Sequential({"squeeze": nn.Conv2d(4, 2, 1, rng=rng), "relu": nn.ReLU()}),
            "pool": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(2 * 4 * 4, 5, rng=rng),
        }
    )


def found(p, name, backward):
    return [o for o in p.operations if o.name == name and o.backward == backward]


def test_flops_and_bytes_of_a_convolution_and_its_gradients():
    x, w, b = tensor(2, 6, 9, 9), tensor(8, 3, 3, 5), tensor(8)
    with mg.profile() as p:
        y = F.conv2d(x, w, b, stride=2, padding=(1, 2), groups=2)
        mg.grad(y.sum(), [x, w, b])
    assert y.shape == (2, 8, 5, 5)
    (forward,), (backward,) = found(p, "Conv2d", False), found(p, "Conv2d", True)
    taps = 3 * 3 * 5  # C/G KH KW
    assert forward.flops == 2 * 8 * 5 * 5 * (2 * taps + 1)
    assert forward.bytes == 4 * (2 * 6 * 81 + 8 * taps + 8 + 400)
    assert backward.flops == 2 * (2 * 400 * taps) + 400  # by x, by w, and the sum for b
    by_x, by_w, by_b = (400 + 360 + 972), (972 + 400 + 360), (400 + 8)
    assert backward.bytes == 4 * (by_x + by_w + by_b)


def test_flops_and_bytes_of_a_linear_layer_and_its_input_gradient():
    x, w, b = tensor(3, 7, dtype=np.float64), mg.Tensor(np.ones((5, 7))), mg.Tensor(np.ones(5))
    with mg.profile() as p:
        mg.grad(F.linear(x, w, b).sum(), x)
    (forward,), (backward,) = found(p, "Linear", False), found(p, "Linear", True)
    assert forward.flops == 3 * 5 * (2 * 7 + 1) and forward.bytes == 8 * (21 + 35 + 5 + 15)
    assert backward.flops == 3 * 7 * 2 * 5 and forward.dtype == np.float64


@pytest.mark.parametrize(
    "run, name, flops, moved",
    [
        (lambda x: F.relu(x), "ReLU", 64, 512),
        (lambda x: F.reshape(x, (2, 32)), "Reshape", 0, 0),  # a view
        (lambda x: x[:, :, ::2], "GetItem", 0, 0),
        (lambda x: F.cat([x, x], 1), "Cat", 0, 1024),
        (lambda x: x.sum(axis=(2, 3), keepdims=True), "Sum", 64, 272),
        (lambda x: F.avg_pool2d(x, 2), "AvgPool2d", 64, 320),
        (lambda x: F.max_pool2d(x, 2), "MaxPool2d", 64, 336),  # 16 winners of one byte
        (lambda x: F.matmul(x, x), "MatMul", 64 * 2 * 4, 768),
        (lambda x: F.softmax(x, 1), "Softmax", 320, 512),
    ],
)
def test_flops_and_bytes_by_hand(run, name, flops, moved):
    x = tensor(2, 2, 4, 4)
    with mg.profile() as p:
        run(x)
    assert [(o.name, o.flops, o.bytes) for o in p.operations] == [(name, flops, moved)]


def test_flops_agree_with_the_summary_of_layers():
    model, x = network(), tensor(1, 3, 8, 8)
    with mg.profile() as p:
        model(x)
    by_layer = {row.name: row.flops for row in p.rows("layer")}
    summary = {layer.name: layer.flops for layer in model.layers((3, 8, 8)) if layer.name != "fire"}
    assert by_layer == summary | {"(between operations)": 0}


def test_shares_add_to_one_and_directions_are_apart():
    model, x = network(), tensor(1, 3, 8, 8)
    with mg.profile() as p:
        mg.grad(model(x)[0, 1], x)
    for by in ("operation", "layer"):
        rows = p.rows(by)
        assert sum(row.share for row in rows) == pytest.approx(1)
        assert all(row.share > 0 for row in rows)
        assert sum(row.calls for row in rows) == len(p.operations)
    assert {(r.name, r.direction) for r in p.rows()} >= {("Conv2d", "forward"), ("Conv2d", "backward")}
    assert sum(row.flops for row in p.rows()) == sum(o.flops for o in p.operations) > 0
    with pytest.raises(ValueError, match='by is \'kind\', expected "operation" or "layer"'):
        p.rows("kind")


def test_layers_have_their_names_also_in_activations_and_backward():
    model, x = network(), tensor(1, 3, 8, 8)
    with mg.profile() as p:
        maps = model.activations(x, ["relu1", "fire.squeeze"])["fire.squeeze"]
        mg.grad(maps.sum(), x)
    names = [(o.name, o.layer) for o in p.operations]
    assert names == [
        ("Conv2d", "conv1"),
        ("ReLU", "relu1"),
        ("Conv2d", "fire.squeeze"),
        *[("Sum", ""), ("Reshape", "")],
        *[("Reshape", ""), ("Sum", "")],
        ("Conv2d", "fire.squeeze"),
        ("ReLU", "relu1"),
        ("Conv2d", "conv1"),
    ]
    assert [o.backward for o in p.operations] == [False] * 5 + [True] * 5


def test_a_rule_is_timed_and_sums_of_gradients_count_as_backward(monkeypatch):
    x, now = tensor(4), [0.0]
    monkeypatch.setattr("minigrad.tools.profile.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def slow(relu, g):
        now[0] += 2
        return relu.vjp(g)

    with mg.profile() as p:
        y = F.relu(x)
        mg.grad((y + y * y).sum(), x, rules={F.ReLU: slow})
    assert found(p, "ReLU", True)[0].seconds == p.seconds == 2
    assert found(p, "ReLU", False)[0].seconds == 0
    assert len(found(p, "Add", False)) == 1
    assert len(found(p, "Add", True)) == 3  # its vjp, two gradients of y in y * y, and those of y in both terms


def test_a_gradient_of_a_gradient_is_counted_once():
    x = tensor(3)
    with mg.profile() as p:
        (first,) = mg.grad((x * x * x).sum(), [x], create_graph=True)
        mg.grad(first.sum(), x)
    assert sum(row.share for row in p.rows()) == pytest.approx(1)
    assert sum(o.seconds for o in p.operations) <= p.seconds


def test_results_are_the_same_and_nothing_stays_behind():
    model, x = network(), tensor(1, 3, 8, 8)
    before = mg.grad(model(x)[0, 1], x).numpy()
    with pytest.raises(ValueError, match="conv2d"), mg.profile():
        model(tensor(1, 2, 8, 8))
    assert _mode.observer is None
    with mg.profile() as p:
        after = mg.grad(model(x)[0, 1], x).numpy()
        np.testing.assert_allclose(after, before, rtol=0, atol=2e-5 * abs(before).max())
        with pytest.raises(RuntimeError, match="profiled already"), mg.profile():
            pass
        count = len(p.operations)
        model(x)
    assert count < len(p.operations)
    count = len(p.operations)
    model(x)
    assert len(p.operations) == count


def test_each_thread_has_its_own():
    counts, barrier = {}, threading.Barrier(2)

    def work(times):
        x = tensor(4)
        barrier.wait()
        with mg.profile() as p:
            for _ in range(times):
                F.relu(x)
        counts[times] = [o.name for o in p.operations]

    threads = [threading.Thread(target=work, args=(times,)) for times in (50, 70)]
    with mg.profile() as mine:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts == {50: ["ReLU"] * 50, 70: ["ReLU"] * 70} and not mine.operations


def test_the_limit_is_the_roofline():
    machine = Limits(flops=100.0, bytes=10.0)
    arithmetic = Operation("a", False, "", 1.0, 200, 10, np.dtype(np.float32))
    memory = Operation("b", False, "", 1.0, 200, 30, np.dtype(np.float32))
    assert machine.least_seconds(arithmetic) == 2 and machine.least_seconds(memory) == 3
    measured = limits()
    assert measured is limits(np.float16) and measured.flops > 1e8 and measured.bytes > 1e7
    x = mg.Tensor(np.ones((1024, 1024), np.float32))
    with mg.profile() as p:
        F.matmul(x, x)
    assert 0.01 < p.rows()[0].limit < 3  # it is the product that was measured, but the machine may have been busy
    assert p.rows()[0].flops == 2 * 1024**3 == cost.product(1024**2, 1024)


def test_tables_show_every_row():
    model, x = network(), tensor(1, 3, 8, 8)
    with mg.profile() as p:
        mg.grad(model(x)[0, 1], x)
    text, page = p.table("layer"), p._repr_html_()
    assert str(p) == p.table()
    assert all(name in text for name in ("conv1", "fire.squeeze", "(GetItem)", "of limit", "matrix product"))
    assert len(str(p).splitlines()) == len(p.rows()) + 2
    assert page.count("<tr>") == len(p.rows()) + 1 and "Conv2d" in page
    with mg.profile() as empty:
        pass
    assert "(between operations)" in str(empty)
