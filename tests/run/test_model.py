"""Weights of one's own: what they make of examples, and how they come and go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import toysup
from toysup import Model, StoreError
from toysup._run.model import LAYOUTS

W = np.array([[1.0, -1.0, 0.5], [0.25, 0.0, -2.0]], np.float32)
b = np.array([0.1, -0.2, 0.0], np.float32)
X = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.0, 0.0, 0.0]])


class Tensor:
    """What PyTorch hands over only after detach() and cpu()."""

    def __init__(self, values, free=False):
        self.values, self.free = values, free

    def detach(self):
        return Tensor(self.values, True)

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        if not self.free:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.asarray(self.values, dtype)


def drawn(m: int, n: int):
    numbers = st.floats(-3, 3, width=32)
    return st.tuples(
        arrays.arrays(np.float32, (m, n), elements=numbers),
        arrays.arrays(np.float32, n, elements=numbers),
        arrays.arrays(np.float64, (4, n), elements=st.sampled_from([0.0, 0.0, 0.3, 1.0, -2.0])),
    )


@given(st.tuples(st.integers(1, 4), st.integers(1, 6)).flatmap(lambda shape: drawn(*shape)))
def test_a_model_is_its_formula(weights):
    W, b, X = weights
    h = X @ W.T.astype(float)
    z = h @ W.astype(float) + b
    for activation, y in (("relu", np.maximum(z, 0)), ("linear", z)):
        model = Model(W, b, activation=activation, importance=0.9)
        importance = 0.9 ** np.arange(len(b))
        np.testing.assert_allclose(model.hidden(X), h, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(model.reconstruct(X), y, rtol=1e-12, atol=1e-12)
        loss = (importance * (X - y) ** 2).sum(axis=1)
        np.testing.assert_allclose(model.example_loss(X), loss, rtol=1e-12, atol=1e-12)
        assert model.loss(X) == pytest.approx(loss.mean(), rel=1e-12, abs=1e-12)


def test_the_loss_is_that_of_the_gradient(backend):
    for reduction, scale in (("sum", 1), ("mean", 3)):
        loss, _, _ = toysup.loss_and_grad(W, b, X, reduction=reduction)
        assert Model(W, b).loss(X) == pytest.approx(loss * scale, rel=1e-6)


def test_examples_in_chunks_are_as_together(monkeypatch):
    whole = Model(W, b).example_loss(X)
    monkeypatch.setattr("toysup._run.model._BUDGET", 3)
    np.testing.assert_array_equal(Model(W, b).example_loss(X), whole)


def test_a_run_is_its_model(backend):
    run = toysup.train(n=30, m=2, T=6, sparsity=0.9, steps=200, test_size=50, importance=0.95)
    X = run.training_set()
    assert run.loss() == pytest.approx(run.train_loss, rel=1e-5)
    assert run.loss(X) == run.loss() == run.model.loss(X)
    np.testing.assert_array_equal(run.reconstruct(X), run.model.reconstruct(X))
    np.testing.assert_array_equal(run.reconstruct(), run.model.reconstruct(X))
    np.testing.assert_array_equal(run.hidden(X), run.model.hidden(X))
    np.testing.assert_array_equal(run.feature_dimensionality(), run.model.feature_dimensionality())
    np.testing.assert_array_equal(run.example_dimensionality(), run.model.example_dimensionality(X))
    assert run.model.W.dtype == np.float32


def test_a_model_starts_a_run(backend):
    model = Model(W, b)
    run = toysup.train(n=3, m=2, T=2, sparsity=0.5, steps=0, warmup=0, init=model, test_size=0)
    np.testing.assert_array_equal(run.W, W)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_go_and_come_by_the_names_of_other_code(layout):
    model = Model(W, b)
    state = model.state_dict(layout)
    for given_layout in (layout, None):
        back = Model.from_state_dict(state, given_layout)
        np.testing.assert_array_equal(back.W, W)
        np.testing.assert_array_equal(back.b, b)
    tensors = {name: Tensor(values) for name, values in state.items()}
    np.testing.assert_array_equal(Model.from_state_dict(tensors).W, W)
    state[LAYOUTS[layout].W][0, 0] = 7  # a copy
    assert model.W[0, 0] == 1


def test_one_of_many_instances():
    state = {"W": np.stack([W, 2 * W]), "b_final": np.stack([b, 3 * b])}
    model = Model.from_state_dict(state, instance=1)
    np.testing.assert_array_equal(model.W, 2 * W)
    np.testing.assert_array_equal(model.b, 3 * b)
    with pytest.raises(ValueError, match=r"W has 2 instances: instance must be .* got None"):
        Model.from_state_dict(state)
    with pytest.raises(ValueError, match=r"got 2$"):
        Model.from_state_dict(state, instance=2)
    with pytest.raises(ValueError, match="instance must not be given for a single model, got 1"):
        Model.from_state_dict({"W": W, "b": b}, instance=1)


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match=r"linear2.weight is not the transpose of linear1.weight"):
        Model.from_state_dict({**Model(W, b).state_dict("spd"), "linear2.weight": W.T + 1})
    with pytest.raises(ValueError, match=r"no layout fits the names \['w'\]; known are toysup"):
        Model.from_state_dict({"w": W})
    with pytest.raises(ValueError, match="more than one layout fits"):
        Model.from_state_dict({"W": W, "b": b, "b_final": b})
    with pytest.raises(ValueError, match=r"state has no 'b', got the names \['W'\]"):
        Model.from_state_dict({"W": W}, "toysup")
    with pytest.raises(ValueError, match=r"layout must be one of .*did you mean 'spd'"):
        Model(W).state_dict("sdp")
    with pytest.raises(TypeError, match="state must be a mapping"):
        Model.from_state_dict([W, b])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((W.T, b[:2]), None, None),
        ((W.T, b), ValueError, r"b must have shape \(2,\) to fit W, got \(3,\); give W\.T"),
        ((W, b[:2]), ValueError, r"b must have shape \(3,\) to fit W, got \(2,\)"),
        ((W[0], b), ValueError, r"W must have shape \(m, n\), got shape \(3,\)"),
        ((W[:, :0],), ValueError, r"W must have shape \(m, n\), got shape \(2, 0\)"),
        ((W * np.nan, b), ValueError, "W must be finite, got nan"),
        ((W, [np.inf, 0, 0]), ValueError, "b must be finite, got inf"),
        ((W.astype(complex), b), TypeError, "W must hold real numbers"),
        ((W, ["a", "b", "c"]), TypeError, "b must hold real numbers"),
        ((W, b[:, None]), None, None),
        ((W.astype(int), b), None, None),
    ],
)
def test_weights_are_checked(arguments, error, text):
    if error is None:
        assert Model(*arguments).b.ndim == 1
        return
    with pytest.raises(error, match=text):
        Model(*arguments)


def test_settings_and_examples_are_checked():
    with pytest.raises(ValueError, match="activation must be"):
        Model(W, b, activation="gelu")
    with pytest.raises(ValueError, match=r"importance must have shape \(3,\)"):
        Model(W, b, importance=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"X must have n = 3 columns, got shape \(3, 2\)"):
        Model(W, b).loss(X[:, :2])
    with pytest.raises(ValueError, match=r"h must have shape \(T, 2\), got shape \(1, 3\)"):
        Model(W, b).decode(np.ones((1, 3)))
    with pytest.raises(ValueError, match="read-only"):
        Model(W, b).W[0, 0] = 1
    assert repr(Model(W, b)) == "Model(m=2, n=3, float32, relu)"
    assert Model(W.astype(float), b).b.dtype == float
    assert not Model(W).b.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_safetensors_file(tmp_path, layout):
    pytest.importorskip("safetensors")
    path = Model(W, b, activation="linear").save_safetensors(tmp_path / "x.safetensors", layout)
    back = Model.load_safetensors(path)
    np.testing.assert_array_equal(back.W, W)
    np.testing.assert_array_equal(back.b, b)
    assert back.activation == "linear"
    assert Model.load_safetensors(path, activation="relu").activation == "relu"


def test_what_is_no_safetensors_file(tmp_path):
    pytest.importorskip("safetensors")
    with pytest.raises(FileNotFoundError, match="there is no file at"):
        Model.load_safetensors(tmp_path / "x.safetensors")
    for content in (b"", b"no weights", b"\xff" * 100, (1 << 60).to_bytes(8, "little") + b"{}"):
        (tmp_path / "y").write_bytes(content)
        with pytest.raises(StoreError, match="is no safetensors file"):
            Model.load_safetensors(tmp_path / "y")
    with pytest.raises(StoreError, match="cannot write"):
        Model(W, b).save_safetensors(tmp_path / "no" / "x.safetensors")
