"""fit(…, compile=True) trains to the same bits and refuses infinite losses; compiled functions and models."""

import itertools

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn, optim, train

X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(3, size=50)


def trained(compile, rate=0.1, layers=(), **options):
    rng = np.random.default_rng(2)
    model = nn.Sequential(nn.Linear(4, 8, rng=rng), nn.ReLU(), nn.Dropout(0.2, rng=rng), *layers)
    model.append(nn.Linear(8, 3, rng=rng))
    groups = [
        {"params": [model[0].weight], "weight_decay": 0.01},
        {"params": [model[0].bias, *model[-1].parameters()]},
    ]
    optimizer = optim.SGD(groups, lr=rate, momentum=0.9)
    history = train.fit(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        (X, Y),
        epochs=3,
        batch_size=16,
        validation=(X, Y),
        metrics=["accuracy"],
        rng=rng,
        compile=compile,
        **options,
    )
    return history, model


@pytest.mark.parametrize("look", [None, lambda _batch: None])
def test_the_same_training(same_bits, look):
    (eager, a), (compiled, b) = [trained(compile=compile, on_batch=look) for compile in (False, True)]
    for mine, other in zip(eager, compiled, strict=True):
        assert (mine.loss, mine.metrics, mine.validation) == (other.loss, other.metrics, other.validation)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert same_bits(p.data, q.data)
        assert (p.grad is None) == (q.grad is None) == (look is None)
        assert look is None or same_bits(p.grad, q.grad)


def noting(model, found):
    return lambda _batch: found.append(model[0].weight.grad.sum())


def test_gradients_are_seen_by_on_batch():
    norms: dict[bool, list[float]] = {False: [], True: []}
    for compile, found in norms.items():
        model = nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(0)))
        train.fit(
            model,
            nn.CrossEntropyLoss(),
            optim.SGD(model.parameters(), lr=0.1),
            (X, Y),
            epochs=2,
            rng=0,
            compile=compile,
            on_batch=noting(model, found),
        )
    assert norms[True] == norms[False]


def test_a_loss_that_is_not_finite_stops_before_the_update():
    model = nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(2)))
    step = train.step.Step(
        model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), compiled=True, gradients=True
    )
    target = np.zeros((16, 3), np.float32)
    for i in range(3):
        step(X[:16], target, 1, i)
    before = [p.data.copy() for p in model.parameters()]
    target[3, 1] = np.inf
    with pytest.raises(
        train.DivergedError,
        match=r"the loss became inf at step 7 \(epoch 1\): the data given to squared_error",
    ):
        step(X[:16], target, 1, 7)
    assert all((p.data == old).all() for p, old in zip(model.parameters(), before, strict=True))


def test_inference(perceptron, same_bits):
    model = perceptron(lambda: nn.BatchNorm1d(8), nn.ReLU)
    fast = mg.compile(model)
    statistics = model[1].running_mean
    for training in (True, False, True):
        model.train(training)
        for count in (5, 5, 7):
            before = statistics.data.copy()
            y = fast(X[:count])
            after = statistics.data.copy()
            with mg.no_grad():
                statistics[...] = before
                assert same_bits(model(X[:count]).data, y.data)
            assert same_bits(statistics.data, after)
            assert not y.requires_grad
            assert (before != after).any() == training


def test_functions_and_what_they_return():
    compiled = mg.compile(lambda x, y=1: {"sum": x.sum(), "pair": (x * y, [None, "text", 3])})
    for _ in range(3):
        found = compiled(np.arange(3.0))
        assert found["sum"].item() == 3
        assert found["pair"][0].tolist() == [0, 1, 2]
        assert found["pair"][1] == [None, "text", 3]
    first = compiled(np.arange(3.0))["pair"][0]
    compiled(np.ones(3))
    assert first.tolist() == [0, 1, 2]  # a copy


def test_higher_orders(same_bits):
    w = mg.Parameter([0.5, -1.0, 2.0], dtype=float)

    def penalty(x):
        leaf = mg.Tensor(x, requires_grad=True)
        (slope,) = mg.grad((np.tanh(leaf * w) ** 3).sum(), leaf, create_graph=True)
        w.grad = None
        (slope * slope).sum().backward()
        return slope.detach()

    compiled = mg.compile(penalty)
    for seed in range(4):
        x = np.random.default_rng(seed).normal(size=3)
        slope = compiled(x)
        found = w.grad
        assert same_bits(penalty(x).data, slope.data)
        assert same_bits(w.grad, found)
    assert compiled.traces == 1


def test_memory_is_at_most_eagers(twins):
    def make():
        rng = np.random.default_rng(0)
        sizes = (4, 100, 30, 3)
        pairs = [(nn.Linear(n, m, rng=rng), nn.Sigmoid()) for n, m in itertools.pairwise(sizes)]
        return nn.Sequential(*[layer for pair in pairs for layer in pair])

    pair = twins(make, nn.CrossEntropyLoss())
    for _ in range(2):
        pair.both(X, Y)
    memory = pair.compiled.memory()
    assert 0 < memory["compiled"] <= memory["eager"]
    assert memory["compiled"] == memory["buffers"] + memory["values"] + memory["calls"]


def test_the_program_can_be_read(twins):
    make = lambda: nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(0)), nn.ReLU())  # noqa: E731
    pair = twins(make, nn.MSELoss())
    target = np.zeros((50, 3), np.float32)
    for _ in range(2):
        pair.both(X, target)
    text = str(pair.compiled.program).splitlines()
    assert text[:2] == ["x0 = argument 0: float32[50, 4]", "x1 = argument 1: float32[50, 3]"]
    calls = [line.split(" = ")[1].split("(")[0] for line in text if line.startswith("v")]
    assert calls == [
        *["transpose", "dot", "add", "maximum", "subtract", "reshape", "dot", "mul"],
        *["mul", "greater", "mul", "transpose", "dot", "sum", "mul", "sub"],
    ]
    assert text[-1].startswith("return v")


def test_the_program_can_be_drawn(twins):
    make = lambda: nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(0)), nn.Sigmoid())  # noqa: E731
    pair = twins(make, nn.MSELoss())
    for _ in range(2):
        pair.both(X, np.zeros((50, 3), np.float32))
    nodes, edges = pair.compiled.nodes_and_edges()
    calls = [node.title for node in nodes if node.memory]
    assert calls == [op.name for op in pair.compiled.program.operations]
    into = {edge.head for edge in edges}
    assert all(i in into for i, node in enumerate(nodes) if node.memory)
    assert all(edge.tail < edge.head for edge in edges)
    shared = [node.memory for node in nodes if node.memory.startswith("buffer")]
    assert len(set(shared)) < len(shared)  # memory that is used again is seen
    text = mg.draw(pair.compiled, format="text")
    assert "'0.weight' [parameter] (3, 4)" in text
    assert "dot [output] ()" in text or "mul [output] ()" in text
    assert "digraph" in mg.draw(pair.compiled).source
