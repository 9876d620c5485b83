"""The network of Nielsen's book in modern Python, to be read beside it: sigmoid layers, SGD, (BP1) … (BP4).

Michael Nielsen, "Neural Networks and Deep Learning", 2015, http://neuralnetworksanddeeplearning.com:
chapter 1 (the network and its training), chapter 2 (the four equations), chapter 3 (cross-entropy, initial
weights, λ). An example is a pair (x, y) of column vectors; ``microgradnet.datasets.mnist_loader`` gives
MNIST in this form. Layers are counted as in the book: layer 1 is the input, weights[0] and biases[0] belong
to layer 2.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from microgradnet.delta.functions import Array, log, sigmoid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The input, a column, and what is wanted: a column too, or, to count right answers, the number of the class.
Example: TypeAlias = tuple[Array, Any]


class NetworkCost(Protocol):
    """What a network asks of its cost: its value for an example, and δ at the output."""

    @staticmethod
    def fn(a: Array, y: Array) -> float:
        """Return C for the output a of an example; for several, side by side, their sum."""

    @staticmethod
    def delta(z: Array, a: Array, y: Array) -> Array:
        """Return δᴸ = ∂C/∂z of the output layer."""


def sigmoid_prime(z: Array) -> Array:
    """σ′(z) = σ(z)(1 − σ(z)).

    >>> sigmoid_prime(np.zeros(1)).tolist()
    [0.25]
    """
    return sigmoid(z) * (1 - sigmoid(z))


class QuadraticCost:
    """C = ½‖a − y‖² for one example; the cost of a batch is the mean. Source: the book, chapter 1, eq. 6.

    >>> QuadraticCost.delta(np.zeros((1, 1)), np.array([[0.5]]), np.array([[1.0]])).tolist()
    [[-0.125]]
    """

    @staticmethod
    def fn(a: Array, y: Array) -> float:
        """Return ½‖a − y‖²."""
        return ((a - y) ** 2).sum() / 2

    @staticmethod
    def delta(z: Array, a: Array, y: Array) -> Array:
        """Return (a − y) ⊙ σ′(z)."""
        return (a - y) * sigmoid_prime(z)  # (BP1): δᴸ = ∇ₐC ⊙ σ′(zᴸ), and ∇ₐC = a − y


class CrossEntropyCost:
    """C = −Σⱼ yⱼ ln aⱼ + (1 − yⱼ) ln(1 − aⱼ) for one example. Source: the book, chapter 3, eq. 63.

    >>> CrossEntropyCost.delta(np.zeros((1, 1)), np.array([[0.5]]), np.array([[1.0]])).tolist()
    [[-0.5]]
    """

    @staticmethod
    def fn(a: Array, y: Array) -> float:
        """Return the cross-entropy; the logarithms are at least −100."""
        return (-y * log(a) - (1 - y) * log(1 - a)).sum()

    @staticmethod
    def delta(z: Array, a: Array, y: Array) -> Array:  # noqa: ARG004 - QuadraticCost reads z
        """Return a − y."""
        return a - y  # (BP1): ∇ₐC = (a − y) / a(1 − a), and σ′(zᴸ) = a(1 − a) cancels the denominator


class Epoch(NamedTuple):
    """One epoch of training: its number, and how many of the test examples are then classified correctly.

    >>> print(Epoch(0, 9032, 10000))
    Epoch 0: 9032 / 10000
    >>> print(Epoch(1))
    Epoch 1 complete
    """

    number: int
    correct: int | None = None
    total: int | None = None

    def __str__(self) -> str:
        if self.total is None:
            return f"Epoch {self.number} complete"
        return f"Epoch {self.number}: {self.correct} / {self.total}"


class Network:
    """Sigmoid layers of the given sizes, trained by stochastic gradient descent.

    Parameters
    ----------
    sizes : sequence of int
        Neurons per layer, the input first: [784, 30, 10].
    cost : NetworkCost
        ``network.QuadraticCost`` or ``network.CrossEntropyCost``, as in the book the class itself.
    rng : numpy.random.Generator or int, optional
        Draws the weights and the order of the examples; an integer is a seed.

    Attributes
    ----------
    weights, biases : list of arrays
        (out, in) and (out, 1) per layer after the input, float64. They start with
        ``default_weight_initializer``.

    Raises
    ------
    ValueError
        If there are fewer than two layers or one has no neuron.

    Examples
    --------
    >>> net = Network([2, 3, 1], rng=0)
    >>> [w.shape for w in net.weights], [b.shape for b in net.biases]
    ([(3, 2), (1, 3)], [(3, 1), (1, 1)])
    >>> nabla_b, nabla_w = net.backprop(np.array([[0.5], [1.0]]), np.array([[1.0]]))
    >>> [g.shape for g in nabla_w]
    [(3, 2), (1, 3)]
    """

    weights: list[Array]
    biases: list[Array]

    def __init__(
        self,
        sizes: Sequence[int],
        cost: NetworkCost = QuadraticCost,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(
                "Network: sizes must be two or more positive numbers, such as [784, 30, 10], "
                f"not {list(sizes)}"
            )
        if not callable(getattr(cost, "fn", None)):
            raise TypeError(
                "Network: the cost must be network.QuadraticCost or network.CrossEntropyCost of this module, "
                f"or have their fn and delta, not {cost!r}"
            )
        self.sizes = list(sizes)
        self.cost = cost
        self.rng = np.random.default_rng(rng)
        self.default_weight_initializer()

    def default_weight_initializer(self) -> None:
        """Draw biases from N(0, 1) and weights from N(0, 1/n), n the inputs of a neuron (chapter 3)."""
        self.large_weight_initializer()
        self.weights = [w / np.sqrt(w.shape[1]) for w in self.weights]

    def large_weight_initializer(self) -> None:
        """Draw biases and weights from N(0, 1), as in chapter 1, where neurons saturate and learn slowly."""
        self.biases = [self.rng.standard_normal((n, 1)) for n in self.sizes[1:]]
        self.weights = [self.rng.standard_normal((n, m)) for m, n in pairwise(self.sizes)]

    def feedforward(self, a: Array) -> Array:
        """Return the output for an input column (n, 1); for several side by side, one column each."""
        self._check_columns("input", a, self.sizes[0])
        for b, w in zip(self.biases, self.weights, strict=True):
            a = sigmoid(w @ a + b)
        return a

    def backprop(self, x: Array, y: Array) -> tuple[list[Array], list[Array]]:
        """Return (∇b, ∇w), the gradient of the cost of one example, in the shapes of biases and weights.

        ``x`` and ``y`` are columns, (sizes[0], 1) and (sizes[-1], 1); any other shape is a ValueError.
        """
        self._check_columns("input", x, self.sizes[0], 1)
        self._check_columns("target", y, self.sizes[-1], 1)
        activation, activations, zs = x, [x], []
        for b, w in zip(self.biases, self.weights, strict=True):
            z = w @ activation + b
            activation = sigmoid(z)
            zs.append(z)
            activations.append(activation)

        nabla_b = [np.zeros_like(b) for b in self.biases]
        nabla_w = [np.zeros_like(w) for w in self.weights]
        delta = self.cost.delta(zs[-1], activations[-1], y)  # (BP1): δᴸ = ∇ₐC ⊙ σ′(zᴸ)
        nabla_b[-1] = delta  # (BP3): ∂C/∂b = δ
        nabla_w[-1] = delta @ activations[-2].T  # (BP4): ∂C/∂w = δ·aᵀ, with a of the layer before
        for l in range(2, len(self.sizes)):  # noqa: E741 - the book's l; -l is the l-th layer from the end
            delta = (self.weights[-l + 1].T @ delta) * sigmoid_prime(zs[-l])  # (BP2): δˡ = wᵀδ ⊙ σ′(zˡ)
            nabla_b[-l] = delta  # (BP3)
            nabla_w[-l] = delta @ activations[-l - 1].T  # (BP4)
        return nabla_b, nabla_w

    def backprop_matrix(self, xs: Array, ys: Array) -> tuple[list[Array], list[Array]]:
        """Return (∇b, ∇w) summed over a whole mini-batch, whose examples stand side by side as columns.

        ``xs`` is (sizes[0], m) and ``ys`` (sizes[-1], m) for m examples; anything else is a ValueError. It is
        the sum of what ``backprop`` returns for each, with one matrix product in place of a loop: δ has a
        column per example, and δ·aᵀ adds up their products.
        """
        self._check_columns("input", xs, self.sizes[0])
        self._check_columns("target", ys, self.sizes[-1], xs.shape[1])
        activations, zs = [xs], []
        for b, w in zip(self.biases, self.weights, strict=True):
            zs.append(w @ activations[-1] + b)
            activations.append(sigmoid(zs[-1]))

        nabla_b, nabla_w = [], []
        delta = self.cost.delta(zs[-1], activations[-1], ys)  # (BP1), every column
        for i in reversed(range(len(self.weights))):
            nabla_b.append(delta.sum(1, keepdims=True))  # (BP3), summed over the examples
            nabla_w.append(delta @ activations[i].T)  # (BP4), summed over the examples by the product
            if i:
                delta = (self.weights[i].T @ delta) * sigmoid_prime(zs[i - 1])  # (BP2), every column
        return nabla_b[::-1], nabla_w[::-1]

    def update_mini_batch(
        self, mini_batch: Sequence[Example], eta: float, lmbda: float = 0.0, n: int | None = None
    ) -> None:
        """Take one step down: b ← b − η·∇b and w ← (1 − ηλ/n)·w − η·∇w, with the mean gradient of the batch.

        ``n`` is the number of examples in the whole training set, by which λ is divided (chapter 3, eq.
        93); a λ without it is a ValueError, as is an empty batch.
        """
        if not mini_batch:
            raise ValueError("update_mini_batch: the mini-batch is empty")
        if lmbda and n is None:
            raise ValueError(
                f"update_mini_batch: lmbda={lmbda} is divided by the number of training examples; give n"
            )
        xs, ys = _side_by_side(mini_batch)
        nabla_b, nabla_w = self.backprop_matrix(xs, ys)
        step = eta / len(mini_batch)
        decay = 1 - eta * lmbda / n if n else 1
        self.biases = [b - step * nb for b, nb in zip(self.biases, nabla_b, strict=True)]
        self.weights = [decay * w - step * nw for w, nw in zip(self.weights, nabla_w, strict=True)]

    def SGD(  # noqa: N802 - the book's name
        self,
        training_data: Sequence[Example],
        epochs: int,
        mini_batch_size: int,
        eta: float,
        lmbda: float = 0.0,
        test_data: Sequence[Example] | None = None,
        report: Callable[[Epoch], object] | None = None,
    ) -> list[Epoch]:
        """Train by stochastic gradient descent on mini-batches, in a new random order in every epoch.

        Nothing is printed: ``report`` is called with the record of every epoch when it ends, and all of them
        are returned. ``report=print`` prints the book's lines.

        Parameters
        ----------
        training_data : sequence of (x, y)
            Columns (sizes[0], 1) and (sizes[-1], 1). It is not shuffled in place.
        epochs, mini_batch_size : int
            At least 1; the last mini-batch of an epoch may be smaller.
        eta : float
            The learning rate η, positive.
        lmbda : float
            λ of ½(λ/n)Σw², which is added to the cost; 0 for none.
        test_data : sequence of (x, y), optional
            What to count after every epoch, as ``evaluate`` does.
        report : callable, optional
            Called with each `Epoch`.

        Raises
        ------
        ValueError
            If one of the numbers is out of range, the training data are empty or a shape does not fit.

        Examples
        --------
        >>> net = Network([1, 1], rng=1)
        >>> data = [(np.array([[-1.0]]), np.array([[0.0]])), (np.array([[1.0]]), np.array([[1.0]]))]
        >>> records = net.SGD(data, epochs=2, mini_batch_size=1, eta=3.0, report=print)
        Epoch 0 complete
        Epoch 1 complete
        """
        if not training_data:
            raise ValueError("SGD: the training data are empty")
        if epochs < 1:
            raise ValueError(f"SGD: epochs must be at least 1, not {epochs}")
        if mini_batch_size < 1:
            raise ValueError(f"SGD: mini_batch_size must be at least 1, not {mini_batch_size}")
        if not eta > 0:
            raise ValueError(f"SGD: eta must be positive, not {eta}")
        if not lmbda >= 0:
            raise ValueError(f"SGD: lmbda must be at least 0, not {lmbda}")
        n = len(training_data)
        records = []
        for number in range(epochs):
            order = self.rng.permutation(n)
            for start in range(0, n, mini_batch_size):
                mini_batch = [training_data[i] for i in order[start : start + mini_batch_size]]
                self.update_mini_batch(mini_batch, eta, lmbda, n)
            counted = (self.evaluate(test_data), len(test_data)) if test_data else ()
            records.append(Epoch(number, *counted))
            if report is not None:
                report(records[-1])
        return records

    def evaluate(self, test_data: Sequence[Example]) -> int:
        """Return for how many examples the neuron with the largest output is the right one.

        The y of an example is the number of its class, or a column whose largest element is at that number.
        """
        correct = 0
        for start in range(0, len(test_data), 1000):  # the outputs of a thousand examples in one product
            part = test_data[start : start + 1000]
            answers = self.feedforward(np.hstack([x for x, _ in part])).argmax(0)
            wanted = [int(np.argmax(y)) if np.ndim(y) else int(y) for _, y in part]
            correct += int((answers == wanted).sum())
        return correct

    def total_cost(self, data: Sequence[Example], lmbda: float = 0.0) -> float:
        """Return the mean cost of the examples, plus ½(λ/n)Σw² over all weights, n being their number.

        The y of an example is a column; empty data are a ValueError.
        """
        if not data:
            raise ValueError("total_cost: the data are empty")
        cost = 0.0
        for x, y in data:
            self._check_columns("target", y, self.sizes[-1], 1)
            cost += self.cost.fn(self.feedforward(x), y)
        squares = sum(float((w**2).sum()) for w in self.weights)
        return float(cost + 0.5 * lmbda * squares) / len(data)

    def _check_columns(self, what: str, values: Array, rows: int, columns: int | None = None) -> None:
        """Refuse what are not columns of the right height: it might broadcast to wrong numbers."""
        shape = np.shape(values)
        if len(shape) == 2 and shape[0] == rows and columns in {None, shape[1]}:
            return
        advice = ""
        if np.size(values) == rows and columns in {None, 1}:
            advice = f"; write values.reshape({rows}, 1)"
        raise ValueError(
            f"Network {self.sizes}: the {what} has shape {shape}, "
            f"expected ({rows}, {'m' if columns is None else columns}): examples are columns{advice}"
        )


def _side_by_side(examples: Sequence[Example]) -> tuple[Array, Array]:
    """Put the columns of the examples side by side: (n, m) inputs and (k, m) targets."""
    try:
        return np.hstack([x for x, _ in examples]), np.hstack([y for _, y in examples])
    except ValueError as error:
        raise ValueError(
            "the examples of a mini-batch have different shapes: "
            f"{sorted({(np.shape(x), np.shape(y)) for x, y in examples})}"
        ) from error
