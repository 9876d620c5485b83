"""Module: what the walk finds, modes, state, hooks, repr, the recording context, inputs and outputs."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn, optim
from microgradnet.graph import current_scope


class Scale(nn.Module):
    """A module whose parameter has a shape of its own."""

    def __init__(self, factor=2.0, dtype=np.float32):
        self.factor = nn.Parameter([factor], dtype=dtype)

    def forward(self, x):
        return x * self.factor


def names(module):
    return [name for name, _ in module.named_parameters()]


# ---------------------------------------------------------------------- the walk


class Nested(nn.Module):
    def __init__(self):
        self.first = nn.Parameter([1.0])
        self.layers = [nn.Linear(2, 3), (nn.Linear(3, 1, bias=False), nn.Parameter([2.0]))]
        self.table = {"left": Scale(), "right": [nn.Parameter([3.0])], 7: nn.Parameter([4.0])}
        self.constant = mg.Tensor([5.0])
        self.note = "no parameter"
        self.last = nn.Parameter([6.0])


def test_parameters_in_attributes_lists_tuples_dicts_and_modules_in_order():
    assert names(Nested()) == [
        "first",
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.0.weight",
        "layers.1.1",
        "table.left.factor",
        "table.right.0",
        "table.7",
        "last",
    ]


def test_parameters_and_named_parameters_are_the_same_objects():
    model = Nested()
    assert all(p is q for p, (_, q) in zip(model.parameters(), model.named_parameters(), strict=True))
    assert [name for name, _ in model.named_modules()] == ["", "layers.0", "layers.1.0", "table.left"]
    assert next(model.modules()) is model


class Tied(nn.Module):
    def __init__(self):
        self.encoder = nn.Linear(3, 2, bias=False, dtype=float)
        self.decoder = nn.Linear(3, 2, bias=False, dtype=float)
        self.decoder.weight = self.encoder.weight
        self.again = self.encoder

    def forward(self, x):
        return self.encoder(x) + self.decoder(x) + self.again(x)


def test_tied_parameters_are_counted_once_and_saved_under_every_name():
    model = Tied()
    assert names(model) == ["encoder.weight"]
    assert list(model.state_dict()) == ["encoder.weight", "decoder.weight", "again.weight"]
    assert [name for name, _ in model.named_modules()] == ["", "encoder", "decoder"]


def test_tied_parameters_get_one_update_with_the_whole_gradient():
    model = Tied()
    before = model.encoder.weight.data.copy()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    x = np.arange(6.0).reshape(2, 3)
    model(x).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(model.encoder.weight.data, before - 0.5 * 3 * np.tile(x.sum(0), (2, 1)))
    assert model.decoder.weight is model.encoder.weight


def test_state_dict_of_tied_weights_loads_into_tied_weights():
    model, other = Tied(), Tied()
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.again.weight.data, model.encoder.weight.data)


class Child(nn.Module):
    def __init__(self, parent):
        self.parent = parent
        self.siblings = parent.children
        self.weight = nn.Parameter([1.0])

    def forward(self, x):
        return x * self.weight


class Parent(nn.Module):
    def __init__(self):
        self.children = []
        self.children += [Child(self) for _ in range(3)]

    def forward(self, x):
        for child in self.children:
            x = child(x)
        return x


def test_a_module_that_holds_its_parent_does_not_hang():
    model = Parent()
    assert names(model) == ["children.0.weight", "children.1.weight", "children.2.weight"]
    assert len(list(model.modules())) == 4
    assert "…" in repr(model)
    assert len(model.state_dict()) == 3
    assert copy.deepcopy(model)([1.0]).tolist() == [1.0]
    assert names(model.children[0]) == ["parent.children.1.weight", "parent.children.2.weight", "weight"]


def test_a_list_that_holds_itself_does_not_hang():
    model: Any = nn.Module()
    model.items = [nn.Parameter([1.0])]
    model.items.append(model.items)
    assert names(model) == ["items.0"]
    assert repr(model) == "Module()"
    with pytest.raises(NotImplementedError):
        model([1.0])


def test_a_subclass_need_not_call_super_init():
    class Bare(nn.Module):
        def __init__(self):
            self.inner = Scale()

        def forward(self, x):
            return self.inner(x)

    model = Bare()
    assert model.training
    assert model.eval() is model
    assert not model.inner.training
    model.register_buffer("count", 3)
    remove = model.register_forward_hook(lambda *_: None)
    remove()
    assert list(model.state_dict()) == ["inner.factor", "count"]
    assert model([1.0]).tolist() == [2.0]


def test_a_subclass_of_sequential_keeps_what_it_adds():
    class Tempered(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(2, 2))
            self.temperature = nn.Parameter([2.0])

    assert names(Tempered()) == ["0.weight", "0.bias", "temperature"]


def test_two_parameters_of_one_name_are_refused_when_saving():
    model: Any = nn.Module()
    model.table = {1: nn.Parameter([1.0]), "1": nn.Parameter([2.0])}
    with pytest.raises(ValueError, match=r"Module: two parameters are called 'table\.1'; rename one of them"):
        model.state_dict()


def test_a_hook_that_is_a_module_is_no_part_of_the_model():
    model = Scale()
    model.register_forward_hook(Tied())
    assert names(model) == ["factor"]


# ---------------------------------------------------------------------- buffers and state


def test_state_dict_has_pytorchs_keys(torch):
    def built(nn):
        return nn.Sequential(
            nn.Linear(4, 3),
            nn.BatchNorm1d(3),
            nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 2, bias=False)),
            nn.Embedding(5, 2),
        )

    ours, theirs = built(nn), built(torch.nn)
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    assert {k: v.shape for k, v in state.items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    assert {k: v.dtype.name for k, v in state.items()} == {
        k: str(v.dtype).removeprefix("torch.") for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    np.testing.assert_array_equal(ours[2][1].weight.data, theirs[2][1].weight.detach().numpy())


def test_state_dict_is_a_copy():
    model = Scale()
    state = model.state_dict()
    state["factor"][...] = 9
    assert model.factor.tolist() == [2.0]
    model.load_state_dict(state)
    state["factor"][...] = 7
    assert model.factor.tolist() == [9.0]


def test_load_state_dict_lists_every_problem_and_changes_nothing():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = model.state_dict()
    state = {**model.state_dict(), "0.weight": np.ones((3, 5)), "0.bias": np.ones(3), "extra": np.ones(4)}
    del state["1.running_var"]
    state["1.num_batches_tracked"] = np.array(2.5)
    with pytest.raises(ValueError, match="load_state_dict: the state does not fit Sequential") as error:
        model.load_state_dict(state)
    assert str(error.value).split("\n  ")[1:] == [
        "missing: 1.running_var (3,)",
        "unexpected: extra (4,)",
        "0.weight: the model has shape (2, 3)".replace("(2, 3)", "(3, 2)") + ", the state (3, 5)",
        "1.num_batches_tracked: the model has dtype int64, the state float64",
    ]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_load_state_dict_keeps_the_dtype_and_the_storage():
    model = Scale()
    array = model.factor.data
    model.load_state_dict({"factor": mg.Tensor([3.0])})
    assert model.factor.data is array
    assert array.dtype == np.float32
    assert array.tolist() == [3.0]


def test_loading_between_forward_and_backward_is_noticed():
    model, x = Scale(), mg.Tensor([1.0], requires_grad=True, dtype=np.float32)
    y = model(x)
    model.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="was changed in place"):
        y.backward()


def test_buffers_are_saved_but_not_trained():
    model: Any = nn.Module()
    given = np.ones(2)
    model.inner = Scale()
    model.inner.register_buffer("mean", given)
    model.inner.register_buffer("mean", given)
    model.other = model.inner
    assert [name for name, _ in model.named_buffers()] == ["inner.mean"]
    assert [b is model.inner.mean for b in model.buffers()] == [True]
    assert names(model) == ["inner.factor"]
    assert list(model.state_dict()) == ["inner.factor", "inner.mean", "other.factor", "other.mean"]
    given[...] = 7
    assert model.inner.mean.tolist() == [1.0, 1.0]
    model.inner.mean = mg.Tensor([3.0, 3.0])  # still a buffer
    assert model.state_dict()["inner.mean"].tolist() == [3.0, 3.0]


# ---------------------------------------------------------------------- changing all of it


def test_train_and_eval_reach_every_module_once():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.BatchNorm1d(2)))
    assert model.eval() is model
    assert [module.training for module in model.modules()] == [False] * 4
    model[1].train()
    assert [module.training for module in model.modules()] == [False, False, True, True]


def test_apply_visits_every_module_in_order():
    model = nn.Sequential(nn.Tanh(), nn.Sequential(nn.ReLU(), nn.Sigmoid()))
    seen: list[nn.Module] = []
    assert model.apply(seen.append) is model
    assert [type(module).__name__ for module in seen] == [
        "Sequential",
        "Tanh",
        "Sequential",
        "ReLU",
        "Sigmoid",
    ]


def test_astype_converts_parameters_and_floating_buffers_in_place():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weight = model[0].weight
    model(np.ones((3, 2)) * [[1], [2], [3]]).sum().backward()
    assert model.astype(np.float64) is model
    assert model[0].weight is weight
    assert weight.grad is None
    dtypes = {name: array.dtype.name for name, array in model.state_dict().items()}
    assert dtypes.pop("1.num_batches_tracked") == "int64"
    assert set(dtypes.values()) == {"float64"}
    assert model(np.ones((2, 2), np.float32)).dtype == np.float64
    with pytest.raises(TypeError, match="parameters need a floating-point dtype, not int64"):
        model.astype(int)


def test_zero_grad_forgets_every_gradient():
    model = nn.Sequential(Scale(), Scale(3.0))
    model([1.0]).backward()
    assert [p.grad is not None for p in model.parameters()] == [True, True]
    model.zero_grad()
    assert [p.grad for p in model.parameters()] == [None, None]


# ---------------------------------------------------------------------- hooks


def test_forward_hooks_see_and_replace_in_order_and_are_removed_one_by_one():
    layer, seen = Scale(), list[Any]()

    def note(module, inputs, output):
        seen.append((module, inputs[0].tolist(), output.tolist()))

    def doubled(module, inputs, output):
        return output * 2

    layer.register_forward_hook(note)
    remove_first = layer.register_forward_hook(doubled)
    remove_second = layer.register_forward_hook(doubled)
    assert layer([1.0]).tolist() == [8.0]
    assert seen == [(layer, [1.0], [2.0])]
    remove_first()
    remove_first()  # again: nothing more is removed
    assert layer([1.0]).tolist() == [4.0]
    remove_second()
    assert layer([1.0]).tolist() == [2.0]
    assert len(seen) == 3


def test_hooks_of_one_module_are_not_those_of_another():
    first, second = Scale(), Scale()
    first.register_forward_hook(lambda *_: mg.Tensor([0.0]))
    assert second([1.0]).tolist() == [2.0]


def test_a_replaced_output_is_a_tensor_too():
    layer = Scale()
    layer.register_forward_hook(lambda *_: np.array([5.0]))
    assert isinstance(layer([1.0]), mg.Tensor)


# ---------------------------------------------------------------------- text


def test_repr_is_nested_and_stable():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.LeakyReLU(0.2), nn.Dropout(0.1)))
    expected = """\
Sequential(
  (0): Linear(in_features=2, out_features=3, bias=True),
  (1): Sequential(
    (0): LeakyReLU(negative_slope=0.2),
    (1): Dropout(p=0.1)
  )
)"""
    assert repr(model) == expected
    model([[1.0, 2.0]])
    assert repr(model) == expected


def test_repr_shows_modules_in_lists_and_dicts_under_their_names():
    model = Nested()
    assert [line.strip().split(":")[0] for line in repr(model).split("\n")[1:-1]] == [
        "(layers.0)",
        "(layers.1.0)",
        "(table.left)",
    ]


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Sigmoid(), "Sigmoid()"),
        (nn.ELU(0.5), "ELU(alpha=0.5)"),
        (nn.GELU("tanh"), "GELU(approximate='tanh')"),
        (nn.Softmax(1), "Softmax(dim=1)"),
        (nn.LogSoftmax(), "LogSoftmax(dim=-1)"),
        (nn.BatchNorm1d(3), "BatchNorm1d(3, eps=1e-05, momentum=0.1)"),
        (nn.LayerNorm((2, 3)), "LayerNorm((2, 3), eps=1e-05)"),
        (nn.Embedding(5, 2), "Embedding(5, 2)"),
        (nn.Linear(1, 2, bias=False), "Linear(in_features=1, out_features=2, bias=False)"),
        (nn.MSELoss(), "MSELoss(reduction='mean')"),
        (nn.HuberLoss(delta=2.0), "HuberLoss(reduction='mean', delta=2.0)"),
        (nn.CrossEntropyLoss(), "CrossEntropyLoss(reduction='mean', label_smoothing=0.0)"),
    ],
)
def test_repr_of_layers(layer, text):
    assert repr(layer) == text


# ---------------------------------------------------------------------- copies


def test_deep_copies_share_nothing():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5, rng=np.random.default_rng(0)))
    model(np.arange(6.0).reshape(3, 2)).sum().backward()
    twin = copy.deepcopy(model)
    for (name, ours), (_, theirs) in zip(
        model._named_state().items(), twin._named_state().items(), strict=True
    ):
        assert ours is not theirs, name
        assert type(ours) is type(theirs)
        assert not np.shares_memory(ours.data, theirs.data), name
        np.testing.assert_array_equal(ours.data, theirs.data)
        if ours.grad is not None:
            assert not np.shares_memory(ours.grad, theirs.grad), name
    assert twin[2].rng is not model[2].rng
    before = model.state_dict()
    optim.SGD(twin.parameters(), lr=1.0).step()
    twin.eval()
    twin[1].running_mean.data[...] = 9
    assert model.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_deep_copies_stay_tied():
    twin = copy.deepcopy(Tied())
    assert twin.decoder.weight is twin.encoder.weight
    assert twin.again is twin.encoder


def test_modules_can_be_pickled():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    twin = pickle.loads(pickle.dumps(model))  # noqa: S301 - what we have just pickled
    np.testing.assert_array_equal(twin[0].weight.data, model[0].weight.data)
    assert names(twin) == names(model)


# ---------------------------------------------------------------------- the recording context


def test_nodes_know_their_module():
    model = nn.Sequential(Scale(), Scale())
    y = model([1.0])
    assert y._node.scope.module is model[1]
    assert y._node.scope.outer.module is model
    assert y._node.parents[0].scope.module is model[0]
    assert (y + 1)._node.scope.module is None


def test_the_recording_context_is_restored_after_an_exception():
    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError("in forward")

    before = current_scope.get()
    with pytest.raises(RuntimeError, match="in forward"):
        nn.Sequential(Scale(), Failing())([1.0])
    assert current_scope.get() is before
    with mg.no_grad(), pytest.raises(RuntimeError, match="in forward"):
        Failing()([1.0])
    assert current_scope.get() is before


def test_no_grad_reaches_into_modules():
    with mg.no_grad():
        assert not Scale()([1.0]).requires_grad
    assert Scale()([1.0]).requires_grad


# ---------------------------------------------------------------------- inputs and outputs


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("own", [np.float32, np.float64])
def test_arrays_take_the_dtype_of_the_parameters(kind, own):
    y = Scale(dtype=own)(np.ones(2, kind))
    assert y.dtype == own
    assert y.tolist() == [2.0, 2.0]


def test_lists_numbers_and_named_inputs_are_cast_too():
    model = Scale()
    assert model([[1.0, 2.0]]).dtype == np.float32
    assert model(x=np.ones(2)).dtype == np.float32
    assert model(np.float64(3)).dtype == np.float32
    assert model(3.0).dtype == np.float32
    assert model(3).tolist() == [6.0]


def test_forward_meets_tensors():
    class Methods(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter([[1.0, 1.0]])

        def forward(self, x, shift):
            return (x.reshape(-1, 2) @ self.weight.T).tanh() + shift.sum()

    y = Methods()(np.zeros((1, 2, 2)), shift=[1.0, 2.0])
    assert y.tolist() == [[3.0], [3.0]]


def test_what_is_no_array_of_numbers_reaches_forward_as_it_is():
    class Chooser(nn.Module):
        def forward(self, *inputs, **options):
            self.inputs, self.options = inputs, options
            return mg.Tensor(0.0)

    model, t = Chooser(), mg.Tensor([1.0])
    tensors, words, pair = [t, t], ["a"], (np.ones(1), 2)
    model(tensors, words, pair, None, mode="fast")
    assert model.inputs[0] is tensors
    assert model.inputs[1] is words
    assert model.inputs[2] is pair
    assert model.inputs[3] is None
    assert model.options == {"mode": "fast"}


def test_an_input_array_is_neither_copied_nor_changed():
    class Keep(nn.Module):
        def forward(self, x):
            self.x = x
            return x

    model, x = Keep(), np.ones(3)
    assert np.shares_memory(model(x).data, x)
    assert not model.x.requires_grad


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool])
def test_integers_are_cast_by_the_layers_that_compute_with_them(kind):
    x = np.array([[1, 0], [0, 1], [1, 1]], kind)
    for layer in (nn.Linear(2, 2), nn.BatchNorm1d(2), nn.LayerNorm(2)):
        for given in (x, mg.Tensor(x), x.tolist()):
            y = nn.Sequential(nn.Flatten(), layer)(given)
            assert y.dtype == np.float32
        np.testing.assert_array_equal(layer(x).data, layer(x.astype(np.float32)).data)


def test_an_array_made_inside_forward_is_cast_by_linear():
    class Scaled(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x.data / 255.0)

    assert Scaled()(np.ones((1, 2), np.uint8)).dtype == np.float32


@pytest.mark.parametrize(
    "layer", [nn.Linear(2, 2), nn.BatchNorm1d(2), nn.LayerNorm(2), nn.Sequential(nn.Tanh(), nn.Linear(2, 2))]
)
def test_a_tensor_of_another_floating_dtype_is_refused_with_the_cast_to_write(layer):
    x = mg.Tensor(np.ones((3, 2)))
    with pytest.raises(TypeError) as error:
        layer(x)
    assert str(error.value) == (
        f"{type(layer).__name__}: the input is a tensor of float64, the parameters are float32; "
        "write x.astype('float32') or model.astype('float64')"
    )
    layer(x.astype("float32"))


def test_a_tensor_of_another_floating_dtype_is_refused_inside_a_model_too():
    class Mixed(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x.astype(float))

    with pytest.raises(TypeError) as error:
        Mixed()(np.ones((1, 2)))
    assert str(error.value) == (
        "linear in layer 'layer' Linear(in_features=2, out_features=2, bias=True): the input is a tensor of "
        "float64, the weight is float32; write x.astype('float32') or model.astype('float64')"
    )


def test_calling_a_model_returns_tensors():
    class Raw(nn.Module):
        def forward(self, x):
            return x.data, [x.data.sum(), "text"]

    assert isinstance(nn.Flatten()(np.ones((2, 3))), mg.Tensor)
    assert isinstance(nn.Dropout().eval()(np.ones(2)), mg.Tensor)
    assert isinstance(nn.Sequential()([1.0]), mg.Tensor)
    assert isinstance(nn.MSELoss()(np.ones(2), np.zeros(2)), mg.Tensor)
    pair, (total, text) = Raw()(np.ones(2))
    assert isinstance(pair, mg.Tensor)
    assert isinstance(total, mg.Tensor)
    assert text == "text"


def test_a_wrong_feature_count_names_the_layer_and_both_shapes():
    model = nn.Sequential(nn.Tanh(), nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match="linear in layer") as error:
        model(np.ones((5, 4)))
    assert str(error.value) == (
        "linear in layer '1.1' Linear(in_features=4, out_features=2, bias=True): the input has shape (5, 3), "
        "the weight (2, 4) expects 4 features on the last axis"
    )
    with pytest.raises(ValueError, match=r"^linear in Linear\(in_features=4, .*: the input has shape \(5,\)"):
        nn.Linear(4, 2)(np.ones(5))
    with pytest.raises(ValueError, match=r"the input has shape \(\), the weight \(2, 4\)"):
        nn.Linear(4, 2)(1.0)


def test_pictures_given_to_a_linear_layer_need_flatten():
    with pytest.raises(
        ValueError, match=r"the input has shape \(2, 1, 4, 4\).*put nn\.Flatten\(\) before it"
    ):
        nn.Sequential(nn.Linear(16, 3))(np.ones((2, 1, 4, 4)))
    with pytest.raises(ValueError, match=r"features on the last axis$"):
        nn.Linear(16, 3)(np.ones((2, 5)))


# ---------------------------------------------------------------------- Sequential

SEQUENTIAL: Any = nn.Sequential  # for what its signature refuses


def test_sequential_is_indexable_sliceable_and_iterable():
    layers = [nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)]
    model = nn.Sequential(*layers)
    assert model[0] is layers[0]
    assert model[-1] is layers[2]
    assert len(model) == 3
    assert list(model) == layers
    assert isinstance(model[1:], nn.Sequential)
    assert list(model[1:]) == layers[1:]
    assert model.append(nn.ReLU()) is model
    assert repr(model[3]) == "ReLU()"
    assert len(layers) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SEQUENTIAL([nn.ReLU()]),
            r"layer 0 is list, not a Module; write nn\.Sequential\(\*layers\)",
        ),
        (lambda: SEQUENTIAL(nn.ReLU(), nn.Tanh), r"layer 1 is type, not a Module; create it: Tanh\(…\)"),
        (lambda: SEQUENTIAL(np.tanh), "layer 0 is ufunc, not a Module$"),
        (lambda: SEQUENTIAL().append(None), "layer 0 is NoneType, not a Module$"),
    ],
)
def test_sequential_takes_modules_only(make, message):
    with pytest.raises(TypeError, match=message):
        make()
