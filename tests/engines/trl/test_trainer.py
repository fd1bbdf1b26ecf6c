"""Under TRL's trainer a model is trained by our rollout, our advantage and our loss."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, get_args

import pytest
import torch

import aepo
from aepo.algorithms import AEPO, DAPO, GRPO, Algorithm, AnyAlgorithm
from aepo.assembly.policies import load_policy
from aepo.config import InstructionsConfig, Layout, TrainConfig
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.files.instruction import read_instruction
from aepo.training.batch import flat_batch
from aepo.training.step import Learner, NonFiniteLoss, update
from aepo.types import SUCCESS, Kind, Origin
from tests import tiny
from tests.environments.test_runs import Letters
from tests.instructions.writer import writing

pytest.importorskip("trl", exc_type=ImportError)

from transformers import TrainerCallback

from aepo.core.exploration import ExplorationState
from aepo.engines.trl import AEPOTrainer, question_dataset

KINDS: tuple[type[Algorithm], ...] = get_args(get_args(AnyAlgorithm)[0])
SHORT = {"entropy_window": 3, "tau": 0.5}
Arguments = Callable[..., Any]


def make(model: Any, args: Any, **changes: Any) -> AEPOTrainer:
    given: dict[str, Any] = {"task": tiny.letters(), "algorithm": AEPO(group_size=6, **SHORT), "max_tool_calls": 3}
    return AEPOTrainer(str(model) if isinstance(model, Path) else model, args, **{**given, **changes})


def weights(trainer: AEPOTrainer) -> list[torch.Tensor]:
    return [p.detach().clone() for p in trainer.model.parameters()]


def steps(trainer: AEPOTrainer) -> list[dict[str, float]]:
    """What was logged after each optimizer step."""
    return [row for row in trainer.state.log_history if "loss" in row]


class Gradients(TrainerCallback):
    """Keeps the gradient of each optimizer step."""

    def __init__(self) -> None:
        self.kept: list[list[torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self.kept.append([p.grad.clone() for p in parts["model"].parameters()])


def test_two_steps_on_atlas_with_search_and_python(arguments: Arguments) -> None:
    if not (BUILT_IN_MODELS["atlas"] / "model.safetensors").is_file():
        pytest.skip("the small model is not in this copy: `aepo warmstart src/aepo/models/atlas` makes it")
    args = arguments(
        num_generations=4, per_device_train_batch_size=4, max_completion_length=96, learning_rate=1e-4, max_steps=2
    )
    task = aepo.atlas()
    trainer = make("atlas", args, task=task, algorithm=None)
    before = weights(trainer)
    rewards: list[list[float]] = []
    leaves: list[Any] = []
    while_sampling = trainer._sample

    def spied(samples: Any) -> Any:
        parts = while_sampling(samples)
        assert trainer.rollout is not None
        for group in trainer.rollout.groups.kept:
            rewards.append(group.rewards)
            leaves.append(group.tree.leaves)
        return parts

    trainer._sample = spied  # type: ignore[method-assign]
    trainer.train()
    assert [len(group) for group in leaves] == [4] * 4
    assert {leaf.origin for group in leaves for leaf in group} >= {Origin.PROBE, Origin.BRANCH}
    assert any(len(set(group)) > 1 for group in rewards)
    assert any(reward >= SUCCESS for group in rewards for reward in group)
    rows = steps(trainer)
    assert len(rows) == 2
    for row in rows:
        assert all(abs(row[name]) < 100 for name in ("loss", "grad_norm", "reward/mean", "branch/per_group"))
        assert row["tool/search/calls"] > 0
        # The model that sampled is the one that is trained, and nothing lies between the two.
        assert row["logprobs/rollout_difference_max"] < 1e-4
    assert any((a != b).any() for a, b in zip(before, weights(trainer), strict=True))


def test_it_trains_in_an_environment(model_folder: Path, arguments: Arguments) -> None:
    world = aepo.environment(Letters)
    task = aepo.Task("letters", tiny.samples(5), held_out=tiny.samples(7)[5:], system="", environment=world)
    args = arguments(eval_strategy="steps", eval_steps=2, num_generations_eval=2)
    trainer = make(model_folder, args, task=task, keep_states=True)
    trainer.train()
    assert trainer.rollout is not None
    assert all(row["environment/opened"] == row["environment/closed"] > 0 for row in steps(trainer))
    (row,) = (row for row in trainer.state.log_history if "eval_success" in row)
    assert row["eval_environment/opened"] == row["eval_environment/closed"] > 0
    nodes = [node for group in trainer.rollout.groups.kept for node in group.tree.nodes]
    assert any(node.state for node in nodes if node.results)
    leaves = [leaf for group in trainer.rollout.groups.kept for leaf in group.tree.leaves]
    assert all(leaf.reward == leaf.outcome for leaf in leaves)
    assert any(leaf.origin is Origin.BRANCH for leaf in leaves)


@pytest.mark.parametrize("layout", get_args(Layout))
@pytest.mark.parametrize("kind", KINDS, ids=[kind.model_fields["name"].default for kind in KINDS])
def test_loss_and_gradient_are_those_of_the_local_engine(
    model_folder: Path, arguments: Arguments, kind: type[Algorithm], layout: Layout
) -> None:
    algorithm = kind.model_validate({"group_size": 6, "kl_weight": 0.05})
    # Without a limit to its norm a gradient is compared as it is; the second optimizer step has ratios other than 1.
    args = arguments(steps_per_generation=4, max_grad_norm=0.0, learning_rate=0.5)
    policy = load_policy(str(model_folder))
    sgd = torch.optim.SGD(policy.model.parameters(), 0.5)
    gradients = Gradients()
    trainer = make(
        policy.model,
        args,
        algorithm=algorithm,
        processing_class=policy.tokenizer,
        optimizers=(sgd, torch.optim.lr_scheduler.ConstantLR(sgd, 1.0)),
        callbacks=[gradients],
        layout=layout,
    )
    trainer.train()
    rollout = trainer.rollout
    assert rollout is not None
    ours = load_policy(str(model_folder))
    reference = ours.frozen()
    sgd = torch.optim.SGD(ours.model.parameters(), 0.5)
    settings = TrainConfig(minibatches=2, max_grad_norm=1e9, micro_batch_tokens=10**6, layout="flat")
    schedule = torch.optim.lr_scheduler.ConstantLR(sgd, 1.0)
    learner = Learner(ours, sgd, schedule, algorithm, settings, reference=reference)
    batch = flat_batch(rollout.groups.kept, algorithm, policy.tokenizer.pad_token_id, 40)
    metrics = update(learner, batch, random.Random(f"minibatches {args.seed} 0"))
    rows = steps(trainer)
    assert len(gradients.kept) == len(rows) == 2
    for name in ("loss", "grad/norm", "kl/rollout", "kl/reference", "clip/high_fraction", "train/idle_share"):
        assert fmean(row[name] for row in rows) == pytest.approx(metrics[name], abs=1e-4), name
    assert metrics["grad/norm"] > 1e-3
    for theirs, parameter in zip(gradients.kept[1], ours.model.parameters(), strict=True):
        assert parameter.grad is not None
        assert (theirs - parameter.grad).abs().max() < 1e-4
    for theirs, own in zip(weights(trainer), ours.model.parameters(), strict=True):
        assert (theirs - own).abs().max() < 1e-4


def test_a_token_is_worth_more_where_the_policy_was_uncertain(model_folder: Path, arguments: Arguments) -> None:
    trainer = make(model_folder, arguments())
    samples = list(trainer.task.samples[:2])
    batches = [part.batch for part in trainer._sample(samples) if part.batch is not None]
    assert batches
    for batch in batches:
        good = batch.advantages_BT > 0
        for row in good.any(-1).nonzero()[:, 0]:
            entropies, worth = batch.entropies_BT[row][good[row]], batch.advantages_BT[row][good[row]]
            order = entropies.argsort()
            assert (worth[order].diff() >= -1e-5).all() and worth.max() > worth.min()


def test_groups_stay_together_in_an_optimizer_step_and_old_logprobs_are_those_of_the_rollout(
    model_folder: Path, arguments: Arguments
) -> None:
    trainer = make(model_folder, arguments(per_device_train_batch_size=12, steps_per_generation=2, num_iterations=1))
    # With a KL term no trajectory is idle.
    trainer._loss.reference = trainer.policy.frozen()
    parts = trainer._sample(list(trainer.task.samples[:4]))
    assert trainer.rollout is not None and len(parts) == 2
    assert [part.batch.groups_B.bincount().tolist().count(6) for part in parts if part.batch] == [2, 2]
    told = sorted(
        round(logprob, 4)
        for group in trainer.rollout.groups.kept
        for trajectory in group.trajectories()
        for logprob, mask in zip(trajectory.logprobs, trajectory.loss_mask, strict=True)
        if mask
    )
    kept = sorted(
        round(float(logprob), 4)
        for part in parts
        if part.batch is not None
        for logprob in part.batch.old_logprobs_BT[part.batch.loss_mask_BT != 0]
    )
    assert kept == pytest.approx(told, abs=2e-4)
    assert {part.tokens for part in parts} == {float(len(told))}


def test_a_pass_over_a_rollout_is_repeated_with_num_iterations(model_folder: Path, arguments: Arguments) -> None:
    trainer = make(model_folder, arguments(steps_per_generation=4, num_iterations=2, max_steps=4))
    assert trainer.steps_per_rollout == 4
    trainer.train()
    assert trainer.rollout is not None and trainer.rollout.step == 1
    rows = steps(trainer)
    assert ["reward/mean" in row for row in rows] == [True, False, False, False]


def test_dapo_replaces_groups_without_spread_and_fills_what_is_missing_with_nothing(
    model_folder: Path, arguments: Arguments
) -> None:
    task = tiny.letters()
    # Only answers to one question differ in their worth: no more than one group can be informative.
    first = task.samples[0].id
    one = aepo.Task(
        "one",
        task.samples,
        task.tools,
        lambda sample, trajectory: tiny.early(sample, trajectory) if sample.id == first else 1.0,
        system="",
    )
    args = arguments(steps_per_generation=4)
    trainer = make(model_folder, args, task=one, algorithm=DAPO(group_size=6, max_rounds=2))
    trainer.train()
    assert trainer.rollout is not None
    kept = trainer.rollout.groups.kept
    assert trainer.rollout.groups.rounds == 2 and {group.sample.id for group in kept} == {first} and len(kept) < 4
    taught = [row["grad/norm"] > 0 for row in steps(trainer)]
    assert taught == [True, len(kept) > 1]


def test_a_rollout_that_teaches_nothing_leaves_the_weights(model_folder: Path, arguments: Arguments) -> None:
    task = tiny.letters()
    flat = aepo.Task("flat", task.samples, task.tools, lambda sample, trajectory: 0.5, system="")
    trainer = make(model_folder, arguments(max_steps=1), task=flat, algorithm=GRPO(group_size=6))
    before = weights(trainer)
    trainer.train()
    (row,) = steps(trainer)
    assert row["train/idle_share"] == 1.0
    assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(
    dtype: str, model_folder: Path, arguments: Arguments
) -> None:
    same = {"deterministic": True, "task": tiny.letters(8)}
    args = {"max_steps": 3, "model_init_kwargs": {"dtype": dtype}}
    whole = make(model_folder, arguments(save_strategy="steps", save_steps=1, **args), **same)
    whole.train()
    checkpoint = Path(whole.args.output_dir) / "checkpoint-2"
    kept = json.loads((checkpoint / "exploration.json").read_text())
    again = make(model_folder, arguments(**args), **same)
    assert again.exploration.steps == 0
    again.train(resume_from_checkpoint=str(checkpoint))
    assert ExplorationState.from_dict(kept["exploration"]).steps == 2
    assert again.exploration == whole.exploration and again.exploration.steps == 3
    assert again.spent == whole.spent
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))


def test_instructions_evolve_and_go_on_from_a_checkpoint_with_the_policy(
    model_folder: Path, arguments: Arguments, tmp_path: Path
) -> None:
    with writing("ij ij", "<search>ab", "kl", "mn", "op") as writer:
        settings = InstructionsConfig(
            enabled=True, texts=["ab cd"], credit="step", every=2, min_groups=1, max_tokens=24, writer=writer.url
        )
        same = {"deterministic": True, "task": tiny.letters(8), "instructions": settings}
        whole = make(model_folder, arguments(save_strategy="steps", save_steps=2, max_steps=4), **same)
        whole.train()
        assert len(writer.asked) == 2
        last = whole.rollout.groups.sampled[0]
        prompt = tiny.tokenizer().decode(last.tree.nodes[0].tokens)
        assert (f"<|system|>{last.sample.instruction}" in prompt) == bool(last.sample.instruction)
        (renewal,) = [row for row in steps(whole) if row.get("instruction/tried_trajectories")]
        assert renewal["instruction/proposal_failed"] == 1
        assert whole.spent.trajectories == 4 * 12 + renewal["instruction/tried_trajectories"]
        writer.asked.clear()
        again = make(model_folder, arguments(max_steps=4), **same)
        again.train(resume_from_checkpoint=str(Path(whole.args.output_dir) / "checkpoint-2"))
    assert again.population == whole.population and again.spent == whole.spent
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))
    again.save_model(str(tmp_path / "saved"))
    assert read_instruction(tmp_path / "saved") == again.population.best.text
    found = again.evaluate()
    assert ("eval_instruction/own_success" in found) == (again.population.best.id != 0)


def test_a_checkpoint_amid_a_rollout_is_not_gone_on_from(model_folder: Path, arguments: Arguments) -> None:
    first = make(model_folder, arguments(max_steps=1, save_strategy="steps", save_steps=1))
    first.train()
    checkpoint = Path(first.args.output_dir) / "checkpoint-1"
    second = make(model_folder, arguments(steps_per_generation=4, max_steps=4))
    with pytest.raises(ValueError, match="saved amid a rollout"):
        second.train(resume_from_checkpoint=str(checkpoint))
    (checkpoint / "exploration.json").unlink()
    third = make(model_folder, arguments(max_steps=2))
    with pytest.raises(ValueError, match=r"cannot go on from .*exploration.json"):
        third.train(resume_from_checkpoint=str(checkpoint))


def test_evaluation_asks_the_held_out_questions(model_folder: Path, arguments: Arguments) -> None:
    trainer = make(model_folder, arguments(eval_strategy="steps", eval_steps=2, num_generations_eval=4))
    trainer.train()
    (row,) = (row for row in trainer.state.log_history if "eval_success" in row)
    assert row["step"] == 2 and 0.0 <= row["eval_success"] <= row["eval_pass@4"] <= 1.0
    assert "eval_greedy" in row and "eval_reward/mean" not in row
    assert trainer.evaluation is not None
    assert [group.sample.id for group in trainer.evaluation.sampled] == ["q5", "q6"]


def test_a_data_set_chooses_and_orders_the_questions(model_folder: Path, arguments: Arguments) -> None:
    task = tiny.letters()
    rows = question_dataset([task.samples[3], task.samples[1]])
    trainer = make(model_folder, arguments(shuffle_dataset=False, max_steps=1), train_dataset=rows)
    trainer.train()
    assert trainer.rollout is not None
    assert [group.sample.id for group in trainer.rollout.groups.kept] == ["q3", "q1"]


def test_a_loss_that_is_not_finite_stops_training_before_the_step(model_folder: Path, arguments: Arguments) -> None:
    trainer = make(model_folder, arguments())
    before = weights(trainer)

    class Broken(AEPO):
        def loss(self, logprobs_BT: Any, old_logprobs_BT: Any, advantages_BT: Any) -> Any:
            return logprobs_BT * float("nan")

    trainer.algorithm = Broken(group_size=6, **SHORT)
    with pytest.raises(NonFiniteLoss, match="the loss is not finite"):
        trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))


def test_a_gradient_that_is_not_finite_stops_training_before_the_step(model_folder: Path, arguments: Arguments) -> None:
    trainer = make(model_folder, arguments())
    before = weights(trainer)
    next(trainer.model.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NonFiniteLoss, match="the gradient is not finite"):
        trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))


def test_recomputed_activations_train_the_same(model_folder: Path, arguments: Arguments) -> None:
    found = []
    for recompute in (False, True):
        trainer = make(model_folder, arguments(gradient_checkpointing=recompute), deterministic=True)
        trainer.train()
        found.append(weights(trainer))
    assert all((a - b).abs().max() < 1e-5 for a, b in zip(*found, strict=True))


def test_steps_that_bfloat16_would_round_away_are_kept(model_folder: Path, arguments: Arguments) -> None:
    def trained(**changes: Any) -> AEPOTrainer:
        init = {"dtype": "bfloat16"}
        trainer = make(model_folder, arguments(learning_rate=1e-4, model_init_kwargs=init, **changes))
        trainer.train()
        return trainer

    ours = trained()
    kept = ours.optimizer.state_dict()["state"].values()
    assert all(bool(one["rest"].any()) for one in kept), "no weight lies between two bfloat16 numbers: nothing is kept"
    assert type(trained(optim="adamw_torch", max_steps=1).optimizer.optimizer) is type(ours.optimizer.optimizer)
    assert type(trained(optim="sgd", max_steps=1).optimizer.optimizer) is torch.optim.SGD


def test_adapters_are_trained_alone(model_folder: Path, arguments: Arguments) -> None:
    peft = pytest.importorskip("peft")
    trainer = make(
        model_folder,
        arguments(max_steps=1, learning_rate=1e-2),
        peft_config=peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
        algorithm=AEPO(group_size=6, kl_weight=0.1, **SHORT),
    )
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved and all("lora" in name for name in moved)


def test_an_adapter_is_trained_on_and_the_reference_has_it_too(
    model_folder: Path, arguments: Arguments, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    made = peft.get_peft_model(load_policy(str(model_folder)).model, settings)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.01)
    made.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match=r"is an adapter: give peft\.PeftModel\.from_pretrained"):
        make(tmp_path / "adapter", arguments())

    def given(**changes: bool) -> Any:
        words = load_policy(str(model_folder))
        model = peft.PeftModel.from_pretrained(words.model, tmp_path / "adapter", **changes)
        algorithm = AEPO(group_size=6, kl_weight=0.1, **SHORT)
        args = arguments(max_steps=4, learning_rate=1e-2)
        return make(model, args, processing_class=words.tokenizer, algorithm=algorithm)

    with pytest.raises(ValueError, match="no weight of the model can be trained"):
        given()
    trainer = given(is_trainable=True)
    trainer.train()
    found = [row["kl/reference"] for row in trainer.state.log_history if "kl/reference" in row]
    assert abs(found[0]) < 1e-9 < found[-1]


def test_observations_are_not_trained(model_folder: Path, arguments: Arguments) -> None:
    trainer = make(model_folder, arguments(per_device_train_batch_size=12, gradient_accumulation_steps=1))
    trainer._loss.reference = trainer.policy.frozen()
    (part,) = trainer._sample(list(trainer.task.samples[:2]))
    assert trainer.rollout is not None and part.batch is not None
    trees = [group.tree for group in trainer.rollout.groups.kept]
    written = sum(
        len(node.tokens)
        for tree in trees
        for leaf in tree.leaves
        for node in tree.walk(leaf.node)
        if node.kind is Kind.POLICY
    )
    read = int(part.batch.lengths_B.sum())
    assert int(part.batch.loss_mask_BT.sum()) == written < read
