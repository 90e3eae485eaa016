"""Slices: which weights stand behind an output feature, for every kind of layer; and the activations recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from expunge.errors import InputError
from expunge.models import Layers
from expunge.objective import LinearObjective, ModuleObjective
from expunge.objective import perturbation as perturbation_module
from expunge.objective.perturbation import Perturbation, perturbed
from expunge.objective.slices import Slices, slices_of
from expunge.rows import Rows


class Scored(nn.Module):
    """A layer of any kind, its output averaged to two scores that depend on all of it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        flat = out.flatten(1)
        return torch.stack([flat.mean(1), flat.square().mean(1)], 1)


class Attention(nn.Module):
    """Self-attention over tokens, with a mask, between an embedding and a linear layer that are tied."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.score = nn.Linear(4, 9, bias=False)  # registered before what comes first
        self.tokens = nn.Embedding(9, 4)
        self.tokens.weight = self.score.weight
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **options)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.tokens(input_ids)
        out = self.attention(x, x, x, key_padding_mask=attention_mask == 0, need_weights=False)[0]
        kept = attention_mask[:, :, None]
        return self.score((out * kept).sum(1) / kept.sum(1))


KINDS: dict[str, tuple[nn.Module, tuple[int, ...], int]] = {
    "linear": (nn.Linear(3, 5), (3,), 5),
    "linear over tokens": (nn.Linear(3, 5, bias=False), (4, 3), 5),
    "convolution 1d": (nn.Conv1d(4, 6, 3, groups=2), (4, 7), 6),
    "convolution 2d": (nn.Conv2d(2, 4, 3, padding=1), (2, 5, 5), 4),
    "convolution 3d": (nn.Conv3d(2, 3, 2), (2, 3, 3, 3), 3),
    "transposed": (nn.ConvTranspose2d(4, 6, 2, groups=2), (4, 3, 3), 6),
    "batch norm": (nn.BatchNorm2d(3), (3, 4, 4), 3),
    "group norm": (nn.GroupNorm(2, 4), (4, 5), 4),
    "layer norm": (nn.LayerNorm(5), (4, 5), 5),
    "rms norm": (nn.RMSNorm(5), (4, 5), 5),
}


def objective_of(module: nn.Module, loss: str = "squared") -> tuple[ModuleObjective, Tensor]:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double()
    objective = ModuleObjective(module.double(), loss, 0.1)
    return objective, objective.flat(dict(module.named_parameters()))


def row(shape: tuple[int, ...], seed: int = 0) -> Rows:
    x = np.random.default_rng(seed).normal(size=(1, *shape))
    return Rows.of({"x": x}, np.array([[0.3, 0.7]]))


def outputs_of(objective: ModuleObjective, w: Tensor, x: Tensor) -> Tensor:
    """What the layer called `layer` gives, (rows, features), the mean over places."""
    seen: list[Tensor] = []
    handle = objective.module.get_submodule("layer").register_forward_hook(lambda _, __, out: seen.append(out))
    objective.scores(w, {"x": x.numpy()})
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_is_the_weights_of_one_output_and_no_other(kind: str) -> None:
    layer, shape, count = KINDS[kind]
    objective, w = objective_of(Scored(layer))
    slices = slices_of(objective)
    (found,) = slices.layers
    assert found.name == "layer"
    assert len(slices) == count
    assert sorted(found.positions.flatten().tolist()) == list(range(objective.dimension))
    x = torch.from_numpy(row(shape).columns["x"])
    before = outputs_of(objective, w, x)
    axis = 1 if found.features == "channel" else before.ndim - 1
    for number, positions in enumerate(slices.of(range(count))):
        moved = w.clone()
        moved[positions] += 0.5
        change = (outputs_of(objective, moved, x) - before).abs().movedim(axis, 0).flatten(1).amax(1)
        assert change[number] > 1e-3
        assert float(change.sum() - change[number]) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_an_activation_is_the_mean_of_the_linear_output_over_places(kind: str) -> None:
    layer, shape, _ = KINDS[kind]
    objective, w = objective_of(Scored(layer))
    rows = row(shape)
    seen = perturbed(objective, w, slices_of(objective), rows.table(), Perturbation(3, 1e-12), seed=0)
    out = outputs_of(objective, w, torch.from_numpy(rows.columns["x"]))
    channel = slices_of(objective).layers[0].features == "channel"
    expected = out.flatten(2).mean(2) if channel and out.ndim > 2 else out.reshape(-1, out.shape[-1]).mean(0)[None]
    np.testing.assert_allclose(seen.activations, np.repeat(expected.detach().numpy(), 3, axis=0), atol=1e-9)
    np.testing.assert_allclose(seen.losses, float(objective.value(w, rows) - 0.05 * w @ w), atol=1e-9)


class Across(nn.Module):
    """Attention of numbers to other numbers, sequence first, whose projections are separate weights."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=2)

    def forward(self, x: Tensor) -> Tensor:
        first = x.transpose(0, 1)
        return self.attention(first, first[:, :, :3], value=first[:, :, :2])[0].mean(0)


def test_separate_projections_of_an_attention_whose_rows_come_second() -> None:
    objective, w = objective_of(Across())
    slices = slices_of(objective)
    shapes = {layer.name: tuple(layer.positions.shape) for layer in slices.layers}
    assert shapes == {
        "attention.q_proj": (4, 5),
        "attention.k_proj": (4, 4),
        "attention.v_proj": (4, 3),
        "attention.out_proj": (4, 5),
    }
    covered = torch.cat([layer.positions.flatten() for layer in slices.layers])
    assert sorted(covered.tolist()) == list(range(objective.dimension))
    x = np.random.default_rng(0).normal(size=(1, 5, 4))
    table = Rows.of({"x": x}, np.zeros((1, 4))).table()
    seen = perturbed(objective, w, slices, table, Perturbation(3, 1e-12), seed=0).activations[0]
    named, mean = objective.weights(w), torch.from_numpy(x[0].mean(0))
    bias = named["attention.in_proj_bias"].split(4)
    expected = [
        mean[:width] @ named[f"attention.{kind}_proj_weight"].T + shift
        for kind, width, shift in zip("qkv", (4, 3, 2), bias, strict=True)
    ]
    expected.append(objective.scores(w, {"x": x})[0])
    np.testing.assert_allclose(seen, torch.cat(expected).detach().numpy(), atol=1e-9)


def text(length: int = 6, kept: int = 4, ids: list[int] | None = None) -> Rows:
    tokens = np.array([ids or [1, 5, 3, 7, 0, 0]], dtype=np.int64)[:, :length]
    mask = (np.arange(length) < kept).astype(np.int64)[None]
    return Rows.of({"input_ids": tokens, "attention_mask": mask}, np.array([2]), classes=9)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True}])
def test_attention_has_slices_of_each_projection_and_tied_weights_have_one_place(options: dict[str, Any]) -> None:
    objective, w = objective_of(Attention(**options), "cross_entropy")
    slices = slices_of(objective)
    named = {layer.name: layer for layer in slices.layers}
    assert {"attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj"} <= set(named)
    assert torch.equal(named["tokens"].positions, named["score"].positions)
    covered = torch.cat([layer.positions.flatten() for layer in slices.layers])
    assert sorted(set(covered.tolist())) == list(range(objective.dimension))
    rows = text()
    seen = perturbed(objective, w, slices, rows.table(), Perturbation(3, tokens=1, vocabulary=9), seed=0)
    module = objective.module
    attention = module.get_submodule("attention")
    weights = objective.weights(w)
    start = slices.starts[[layer.name for layer in slices.layers].index("attention.v_proj")]
    key = "attention.in_proj_weight" if "attention.in_proj_weight" in weights else "attention.v_proj_weight"
    v = weights[key][-4:]
    bias = weights.get("attention.in_proj_bias", torch.zeros(12, dtype=torch.float64))[-4:]
    drawn = perturbation_module._drawn(
        objective, rows.columns, Perturbation(3, tokens=1), {"input_ids": 9}, 3, np.random.default_rng(0)
    )
    x = weights["score.weight"][torch.from_numpy(drawn["input_ids"])]
    expected = (x @ v.T + bias)[:, :4].mean(1)
    np.testing.assert_allclose(seen.activations[:, start : start + 4], expected.numpy(), atol=1e-9)
    assert attention is not None


def test_padding_does_not_count() -> None:
    objective, w = objective_of(Attention(), "cross_entropy")
    slices, how = slices_of(objective), Perturbation(5)
    one = perturbed(objective, w, slices, text(ids=[1, 5, 3, 7, 0, 0]).table(), how, seed=3)
    other = perturbed(objective, w, slices, text(ids=[1, 5, 3, 7, 8, 2]).table(), how, seed=3)
    for index, layer in enumerate(slices.layers):
        if layer.name.startswith("attention") and not layer.name.endswith("out_proj"):
            columns = slice(slices.starts[index], slices.starts[index + 1])
            np.testing.assert_allclose(one.activations[:, columns], other.activations[:, columns], atol=1e-12)
    np.testing.assert_allclose(one.losses, other.losses, atol=1e-12)


def test_the_first_token_and_the_padding_never_change() -> None:
    objective, w = objective_of(Attention(), "cross_entropy")
    rows, how = text(), Perturbation(200, tokens=2)
    ids = perturbation_module._vocabularies(objective, w, rows.columns, how)
    drawn = perturbation_module._drawn(objective, rows.columns, how, ids, 200, np.random.default_rng(0))["input_ids"]
    changed = drawn != rows.columns["input_ids"]
    assert not changed[:, [0, 4, 5]].any()
    assert changed[:, 1:4].any(0).all()
    assert changed.sum(1).max() == 2
    assert drawn.min() >= 0
    assert drawn.max() <= 8


class Segmented(nn.Module):
    """Embeddings of tokens, of more places than tokens, and of two segments, as BERT's."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.tokens, self.segments = nn.Embedding(30, 4), nn.Embedding(9, 4), nn.Embedding(2, 4)
        self.score = nn.Linear(4, 3)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.tokens(input_ids) + self.segments(token_type_ids) + self.places(torch.arange(input_ids.shape[1]))
        return self.score((x * attention_mask[:, :, None]).sum(1))


def test_only_token_ids_change_and_stay_in_their_own_vocabulary() -> None:
    objective, w = objective_of(Segmented(), "cross_entropy")
    plain = text()
    rows = Rows.of({**plain.columns, "token_type_ids": np.array([[0, 0, 1, 1, 0, 0]])}, plain.y, classes=3)
    for how in (Perturbation(200), Perturbation(200, vocabulary=7)):
        ids = perturbation_module._vocabularies(objective, w, rows.columns, how)
        drawn = perturbation_module._drawn(objective, rows.columns, how, ids, 200, np.random.default_rng(0))
        changed = drawn["input_ids"] != plain.columns["input_ids"]
        assert drawn["input_ids"][changed].max() == (how.vocabulary or 9) - 1
        assert (drawn["token_type_ids"] == rows.columns["token_type_ids"]).all()
    assert np.isfinite(
        perturbed(objective, w, slices_of(objective), rows.table(), Perturbation(50), seed=0).losses
    ).all()


def test_the_tokens_of_a_gradient_are_those_that_occur() -> None:
    module = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 3))
    objective, w = objective_of(module, "cross_entropy")
    rows = Rows.of({"x": text().columns["input_ids"]}, np.array([2]), classes=3)
    assert slices_of(objective).tokens(objective.gradient_sum(w, rows)) == [0, 1, 3, 5, 7]


class Crossed(nn.Module):
    """Two equal layers, called in another order than they are registered, one of them twice; a third is not called."""

    def __init__(self) -> None:
        super().__init__()
        self.late, self.early, self.idle = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.late(torch.tanh(self.early(torch.tanh(self.early(x)))))


def test_layers_go_by_name_however_they_are_called() -> None:
    objective, w = objective_of(Crossed())
    slices = slices_of(objective)
    assert [layer.name for layer in slices.layers] == ["late", "early", "idle"]
    x = np.random.default_rng(0).normal(size=(1, 3))
    table = Rows.of({"x": x}, np.zeros((1, 3))).table()
    seen = perturbed(objective, w, slices, table, Perturbation(3, 1e-12), seed=0).activations
    named = objective.weights(w)
    first = torch.from_numpy(x) @ named["early.weight"].T + named["early.bias"]
    second = torch.tanh(first) @ named["early.weight"].T + named["early.bias"]
    late = torch.tanh(second) @ named["late.weight"].T + named["late.bias"]
    np.testing.assert_allclose(seen[0], np.concatenate([late[0], (first + second)[0] / 2, [np.nan] * 3]), atol=1e-9)


def test_draws_do_not_depend_on_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, w = objective_of(Scored(nn.Linear(3, 5)))
    arguments = (objective, w, slices_of(objective), row((3,)).table(), Perturbation(30))
    whole = perturbed(*arguments, seed=1)
    monkeypatch.setattr(perturbation_module, "BATCH_ROWS", 7)
    parts = perturbed(*arguments, seed=1)
    np.testing.assert_allclose(parts.activations, whole.activations, atol=1e-12)
    assert not np.allclose(perturbed(*arguments, seed=2).losses, whole.losses)


def test_frozen_recurrent_and_linear_models() -> None:
    frozen = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    frozen[0].weight.requires_grad_(False)
    objective, _ = objective_of(frozen)
    assert [layer.positions.shape for layer in slices_of(objective).layers] == [(4, 1), (2, 5)]
    recurrent, _ = objective_of(nn.Sequential(nn.LSTM(3, 2)))
    assert {layer.features for layer in slices_of(recurrent).layers} == {"none"}
    linear = LinearObjective("cross_entropy", 0.1, 4, 3)
    assert slices_of(linear).layers[0].positions.tolist() == torch.arange(15).view(3, 5).tolist()
    with pytest.raises(InputError, match="no slice 3"):
        slices_of(linear).layer_of(3)
    with pytest.raises(InputError, match="of linear models and torch modules"):
        slices_of(None)  # type: ignore[arg-type]


def test_the_transposed_linear_layer_of_transformers() -> None:
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    objective, _ = objective_of(nn.Sequential(pytorch_utils.Conv1D(2, 3)))
    (layer,) = slices_of(objective).layers
    assert layer.positions.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert layer.features == "last"


def test_whole_numbers_of_a_linear_model_are_numbers() -> None:
    objective = LinearObjective("squared", 0.1, 3, 1)
    rows = Rows.of({"x": np.array([[1, 2, 3]])}, np.array([1.0]))
    seen = perturbed(objective, torch.ones(4).double(), slices_of(objective), rows.table(), Perturbation(50), seed=0)
    assert seen.activations.std() == pytest.approx(0.1 * 3**0.5, rel=0.3)
    np.testing.assert_allclose(seen.losses, (seen.activations[:, 0] - 1) ** 2 / 2)


def test_bad_perturbations_are_explained() -> None:
    with pytest.raises(InputError, match="times=2"):
        Perturbation(2)
    objective, w = objective_of(Scored(nn.Linear(3, 5)))
    slices: Slices = slices_of(objective)
    two = Rows.of({"x": np.zeros((2, 3))}, np.zeros((2, 2))).table()
    with pytest.raises(InputError, match="One row is perturbed"):
        perturbed(objective, w, slices, two, Perturbation(), seed=0)
    whole = Rows.of({"x": np.zeros((1, 3), dtype=np.int64)}, np.zeros((1, 2))).table()
    scaled, v = objective_of(Layers(nn.Linear(3, 2), flat=True))  # takes integers for numbers
    with pytest.raises(InputError, match=r"no embedding that reads them .* give vocabulary="):
        perturbed(scaled, v, slices_of(scaled), whole, Perturbation(), seed=0)
