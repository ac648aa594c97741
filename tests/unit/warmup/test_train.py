from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import tiny_adapted_model

from g2is.errors import StoreError
from g2is.model.parameters import trainable_parameters
from g2is.store.digests import digest_of
from g2is.store.files import write_json
from g2is.store.moments import load_moments, save_moments
from g2is.warmup.moments import moments_of
from g2is.warmup.train import SAMPLE, draw_rows, drawn_keys


def make_keys(num_rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_rows, 16), dtype=np.uint8)


def test_the_sample_is_a_share_of_all_rows_each_once(tmp_path: Path) -> None:
    rows = draw_rows(tmp_path, make_keys(400), 0.05, seed=0)
    assert len(rows) == len(set(rows.tolist())) == 20
    assert draw_rows(tmp_path / "tiny", make_keys(3), 0.05, seed=0).shape == (1,)
    assert draw_rows(tmp_path / "other", make_keys(400), 0.05, seed=1).tolist() != rows.tolist()


def test_the_same_rows_are_trained_on_in_the_same_order_whatever_the_order_of_the_pool(tmp_path: Path) -> None:
    keys = make_keys(3000)
    keys[2000:2300] = keys[:300]  # rows that come twice
    order = np.random.default_rng(3).permutation(len(keys))
    drawn = keys[draw_rows(tmp_path / "as it is", keys, 0.05, seed=0)]
    permuted = keys[order][draw_rows(tmp_path / "permuted", keys[order], 0.05, seed=0)]
    assert np.array_equal(drawn, permuted)
    assert (tmp_path / "as it is/sample.json").read_bytes() == (tmp_path / "permuted/sample.json").read_bytes()


def test_a_pool_that_grew_while_its_warm_up_was_stopped_draws_nothing_anew(tmp_path: Path) -> None:
    keys = make_keys(100)
    rows = draw_rows(tmp_path, keys, 0.1, seed=0)
    grown = np.concatenate([make_keys(50, seed=9), keys])
    assert draw_rows(tmp_path, grown, 0.1, seed=0).tolist() == (rows + 50).tolist()


def test_a_pool_that_lost_a_drawn_row_is_refused(tmp_path: Path) -> None:
    keys = make_keys(100)
    rows = draw_rows(tmp_path, keys, 0.1, seed=0)
    with pytest.raises(StoreError, match="found 1 of them gone"):
        draw_rows(tmp_path, np.delete(keys, rows[3], axis=0), 0.1, seed=0)


def test_a_lost_draw_is_drawn_again_from_the_same_pool_and_from_no_other(tmp_path: Path) -> None:
    keys = make_keys(100)
    drawn = keys[draw_rows(tmp_path, keys, 0.1, seed=0)]
    sample = tmp_path / SAMPLE
    written = sample.read_bytes()
    write_json(tmp_path / "complete.json", {"sample_digest": digest_of(sample)})
    sample.unlink()
    grown = np.concatenate([make_keys(50, seed=9), keys])
    assert len(drawn_keys(tmp_path, grown, 0.1, seed=0)) == 0
    assert not sample.exists()
    assert drawn_keys(tmp_path, keys, 0.1, seed=0).tolist() == drawn.tolist()
    assert sample.read_bytes() == written


def test_moments_are_matched_by_parameter_and_come_back_exactly(tmp_path: Path) -> None:
    parameters = trainable_parameters(tiny_adapted_model("llama", "attention"))
    # two groups in another order than the model's: position says nothing
    names = list(reversed(parameters))
    groups = [{"params": [parameters[n] for n in names[::2]]}, {"params": [parameters[n] for n in names[1::2]]}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    for _ in range(3):
        for number, parameter in enumerate(parameters.values()):
            parameter.grad = torch.full_like(parameter, float(number + 1))
        optimizer.step()
    save_moments(moments_of(optimizer, parameters), tmp_path / "moments.safetensors")
    loaded = load_moments(tmp_path / "moments.safetensors", parameters)
    assert (loaded.step, loaded.beta1, loaded.beta2, loaded.epsilon) == (3, 0.9, 0.999, 1e-8)
    for number, (name, parameter) in enumerate(parameters.items()):
        expected = (number + 1) * (1 - 0.9**3)
        torch.testing.assert_close(loaded.m[name], torch.full(parameter.shape, expected))
        assert torch.equal(loaded.v[name], optimizer.state[parameter]["exp_avg_sq"])


def test_moments_of_another_adapter_are_refused_by_parameter_name(tmp_path: Path) -> None:
    parameters = trainable_parameters(tiny_adapted_model("llama", "attention"))
    optimizer = torch.optim.AdamW(parameters.values())
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    save_moments(moments_of(optimizer, parameters), tmp_path / "moments.safetensors")
    others = trainable_parameters(tiny_adapted_model("llama", "mlp"))
    with pytest.raises(StoreError, match=r"layers\.0\.mlp\.down_proj\.lora_A\.weight with shape \(4, 48\), found None"):
        load_moments(tmp_path / "moments.safetensors", others)
