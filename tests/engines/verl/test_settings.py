"""No key of our configuration is dropped on the way to verl: it is mapped, read by our own code there, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from aepo.algorithms import AEPO, DAPO, GRPO
from aepo.cli import main
from aepo.config import Config, ConfigError, ModelConfig, RolloutConfig, TrainConfig, algorithm_names, flat, parse
from aepo.engines.verl.mapping import mapping
from aepo.engines.verl.settings import FORBIDDEN, OURS, REFUSED, explained, overrides

ACTOR, SERVER = "actor_rollout_ref.actor.", "actor_rollout_ref.rollout."


def keys() -> list[str]:
    """Every key of a configuration, whatever the algorithm."""
    made: set[str] = set()
    for name in algorithm_names():
        made |= set(flat(parse({"algorithm": {"name": name}}).model_dump(mode="json")))
    sections = ("tools.", "task.options")
    return [*sorted(key for key in made if not key.startswith(sections)), "tools.mode"]


@pytest.mark.parametrize("key", keys())
def test_every_key_is_mapped_or_read_by_our_code_or_refused(key: str):
    mapped = key in mapping(Config(), 100)
    ours = key in OURS or f"{key.split('.')[0]}." in OURS
    assert mapped or ours or key in REFUSED, (
        f"{key} is dropped on the way to verl: add it to aepo.engines.verl.settings"
    )
    assert not (key in REFUSED and (mapped or key in OURS))


def test_what_the_tables_name_exists():
    known = {key for name in keys() for key in (name, f"{name.split('.')[0]}.")} | {"tools.", "task."}
    assert set(OURS) | set(REFUSED) <= known
    assert set(mapping(Config(), 100)) - {"rollout.agent"} <= known


def test_a_group_a_step_and_its_optimizer_come_out_as_verl_counts_them():
    config = Config(
        algorithm=GRPO(group_size=8, kl_weight=0.01),
        rollout=RolloutConfig(questions=32, max_tokens=500),
        train=TrainConfig(steps=20, minibatches=4, epochs=2, warmup=20, micro_batch_tokens=100),
    )
    made = overrides(config, longest_prompt=40)
    assert (made["data.train_batch_size"], made[SERVER + "n"]) == (32, 8)
    assert made[ACTOR + "ppo_mini_batch_size"] == 8
    # 8 optimizer steps a training step.
    assert made[ACTOR + "optim.lr_warmup_steps"] == 3
    assert made[ACTOR + "loss_agg_mode"] == "seq-mean-token-mean"
    assert (made[ACTOR + "use_kl_loss"], made[ACTOR + "kl_loss_coef"]) == (True, 0.01)
    assert made[ACTOR + "ppo_max_token_len_per_gpu"] == 540
    assert made["trainer.total_training_steps"] == 20
    assert made["trainer.resume_mode"] == "disable"


def test_dapo_lets_verl_replace_groups_of_equal_rewards():
    assert overrides(Config(algorithm=DAPO()), 40)["algorithm.filter_groups.enable"] is True
    assert overrides(Config(algorithm=AEPO()), 40)["algorithm.filter_groups.enable"] is False


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": ModelConfig(device="cuda:1")}, "model.device"),
        ({"rollout": RolloutConfig(deterministic=True)}, "rollout.deterministic"),
        ({"rollout": RolloutConfig(overlap=2)}, "rollout.overlap"),
        ({"train": TrainConfig(schedule="linear")}, "train.schedule"),
        ({"train": TrainConfig(max_executed_calls=1000)}, "train.max_executed_calls"),
        ({"train": TrainConfig(minibatches=3)}, "train.minibatches 3"),
        ({"algorithm": AEPO(preset="reference")}, "algorithm.entropy_scale"),
        ({"algorithm": AEPO(group_size=7), "verl": {"trainer.n_gpus_per_node": 8}}, "algorithm.group_size 7"),
        ({"verl": {"trainer.use_v1": False}}, "trainer.use_v1"),
        ({"verl": {"algorithm.rollout_correction.bypass_mode": True}}, "bypass_mode"),
        ({"verl": {"trainer.v1.trainer_mode": "separate_async"}}, "trainer.v1.trainer_mode"),
        ({"verl": {"model_engine": "megatron"}}, "model_engine"),
        ({"verl": {SERVER + "n": 4}}, "leave it out"),
        (
            {"verl": {"entropy_source": "top20"}},
            "verl.entropy_source is 'top20': give auto, replica, endpoint, logprob",
        ),
        ({"verl": {"trainer": {"save_freq": 3}}}, "trainer.save_freq"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_honoured_is_refused_by_name(changes: dict[str, Any], named: str):
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        overrides(Config(**changes), longest_prompt=40)


@pytest.mark.parametrize("tools", [{"mode": "record"}, {"budget": {"calls": 10}}])
def test_what_one_process_keeps_is_refused_on_several_nodes(tools: dict[str, Any]):
    one = parse({"tools": tools})
    assert overrides(one, 40)[SERVER + "agent.num_workers"] == 1
    with pytest.raises(ConfigError, match="num_workers"):
        overrides(one.model_copy(update={"verl": {"trainer": {"nnodes": 2}}}), 40)


def test_the_verl_section_goes_to_verl_and_may_repeat_what_the_mapping_says():
    given = {"trainer": {"n_gpus_per_node": 4}, SERVER + "gpu_memory_utilization": 0.7, SERVER + "n": 8}
    made = overrides(Config(verl=given), 40)
    assert (made["trainer.n_gpus_per_node"], made[SERVER + "gpu_memory_utilization"]) == (4, 0.7)


def test_the_entropy_source_is_ours_and_stays_here():
    assert not any("entropy_source" in key for key in overrides(Config(verl={"entropy_source": "endpoint"}), 40))


def test_one_agent_process_a_node_calls_tools():
    assert overrides(Config(verl={"trainer.nnodes": 2}), 40)[SERVER + "agent.num_workers"] == 2


def test_the_explanation_has_a_line_for_every_key():
    text = explained(Config(), 40)
    for key in (*mapping(Config(), 40), *OURS):
        assert f"  {key}" in text
    for key in FORBIDDEN:
        assert key in text or "." not in key or key == "critic.enable"


def test_a_dry_run_prints_the_mapping_without_verl(capsys: pytest.CaptureFixture[str]):
    assert main(["train", "task.options.size=50", "task.options.held_out=5", "--engine", "verl", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "rollout.questions            -> data.train_batch_size = 16" in printed
    assert "train.layout                    whole trajectories" in printed


def test_a_dry_run_refuses_in_one_line(capsys: pytest.CaptureFixture[str]):
    arguments = ["train", "task.options.size=50", "rollout.deterministic=true", "--engine", "verl", "--dry-run"]
    assert main(arguments) == 2
    assert "engine verl cannot have rollout.deterministic" in capsys.readouterr().err
