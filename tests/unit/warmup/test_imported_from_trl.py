"""A checkpoint that TRL's own SFTTrainer leaves is taken with the optimizer's own moments."""

import json
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig

from g2is.config import ModelConfig
from g2is.demo.skills import pool_rows
from g2is.model.folder import find_model
from g2is.model.parameters import canonical_name
from g2is.warmup.imported import find_checkpoint, read_checkpoint

MODEL = Path(__file__).resolve().parents[3] / "src/g2is/demo/model"


@pytest.mark.slow
def test_the_moments_of_an_sft_trainer_checkpoint_are_those_of_its_optimizer(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    rows = Dataset.from_list([{"messages": row["messages"]} for row in pool_rows(24)])
    trainer = trl.SFTTrainer(
        model=str(MODEL),
        args=trl.SFTConfig(
            output_dir=str(tmp_path),
            max_steps=3,
            save_steps=3,
            per_device_train_batch_size=4,
            learning_rate=1e-3,
            use_cpu=True,
            bf16=False,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=rows,
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "o_proj"], task_type="CAUSAL_LM"),
    )
    trainer.train()
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    expected = {
        canonical_name(name): optimizer.state[parameter]
        for name, parameter in trainer.model.named_parameters()
        if parameter.requires_grad
    }
    checkpoint = tmp_path / "checkpoint-3"
    assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == 3
    taken = read_checkpoint(find_checkpoint(checkpoint), find_model(ModelConfig(name=str(MODEL)))).adam.moments
    assert taken.step == 3
    assert set(taken.m) == set(taken.v) == set(expected)
    for name, state in expected.items():
        assert torch.equal(taken.m[name], state["exp_avg"])
        assert torch.equal(taken.v[name], state["exp_avg_sq"])
