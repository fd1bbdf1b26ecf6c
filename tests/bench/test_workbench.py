"""Each part does the work that it names: rows are sampled, steps are trained, and both agree."""

from __future__ import annotations

import pytest
import torch

from aepo.bench.agreement import agreement
from aepo.bench.parts import GROUPS, TRAJECTORIES, BenchPart, shared
from aepo.bench.training import TrainingStep, made_up, shared_for
from aepo.bench.workbench import TRIAL, Workbench
from aepo.config import TrainConfig
from tests.bench import toy

LONG = 1e6


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return Workbench(toy.subject())


def test_the_model_is_described_as_it_is(bench: Workbench) -> None:
    about = bench.described()
    assert (about.dtype, about.device, about.on_cpu, about.threads) == ("float32", "CPU", True, 1)
    assert about.trained == about.shape.parameters == sum(p.numel() for p in bench.policy.model.parameters())


@pytest.mark.parametrize("kind", ["sampling", "generate"])
def test_every_row_gets_its_tokens(bench: Workbench, kind: str) -> None:
    found = bench.measure(BenchPart(kind, 3, 5, 10), LONG)  # type: ignore[arg-type]
    assert (found.state, found.part.tokens, found.note) == ("measured", 10, "")
    assert found.figures["tokens_per_second"] == pytest.approx(30 / found.figures["seconds"])


@pytest.mark.parametrize("kind", ["sampling", "generate"])
def test_a_part_without_time_is_shortened_and_says_so(bench: Workbench, kind: str) -> None:
    found = bench.measure(BenchPart(kind, 2, 5, 2000), 0.0)  # type: ignore[arg-type]
    assert found.state == "measured" and 0 < found.part.tokens <= TRIAL
    assert found.note == f"for lack of time rows sampled {found.part.tokens} tokens, not 2000"


def test_a_step_of_training_is_measured_in_both_layouts(bench: Workbench) -> None:
    rows = GROUPS * TRAJECTORIES
    flat = bench.measure(BenchPart("flat", rows, shared(8), 8), LONG)
    tree = bench.measure(BenchPart("tree", rows, shared(8), 8), 0.0)
    assert flat.part.tokens == tree.part.tokens == 8 and not flat.note + tree.note
    assert tree.figures["sharing"] == pytest.approx(4.0, rel=0.1)
    assert min(flat.figures["seconds"], tree.figures["seconds"], tree.figures["optimizer_seconds"]) > 0


def test_training_without_time_has_shorter_trajectories_that_share_as_much(bench: Workbench) -> None:
    found = bench.measure(BenchPart("flat", GROUPS * TRAJECTORIES, shared(64), 64), 0.0)
    assert (found.part.tokens, found.part.prompt) == (4, shared(4))
    assert found.note == "for lack of time trajectories have 4 tokens, not 64"


def test_measuring_does_not_change_the_weights(bench: Workbench) -> None:
    before = [parameter.clone() for parameter in bench.policy.parameters()]
    bench.measure(BenchPart("tree", GROUPS * TRAJECTORIES, shared(4), 4), LONG)
    assert all(torch.equal(one, other) for one, other in zip(before, bench.policy.parameters(), strict=True))


def test_a_step_on_the_tree_is_the_step_on_whole_trajectories(bench: Workbench) -> None:
    batch = made_up(512, groups=1, rows=4, shared=shared_for(2.0, 4, 4), alone=4)
    optimizer = torch.optim.SGD(bench.policy.parameters(), 0.0)
    flat, tree = (
        TrainingStep(bench.policy, optimizer, TrainConfig(layout=layout))(batch)  # type: ignore[arg-type]
        for layout in ("flat", "tree")
    )
    assert tree["train/sharing"] == pytest.approx(2.0, rel=0.2)
    assert tree["grad/norm"] == pytest.approx(flat["grad/norm"], rel=1e-3)


def test_in_float32_sampler_and_trainer_agree(bench: Workbench) -> None:
    found = agreement(bench.policy, rows=5, length=8, tokens=6, temperature=0.1)
    for layout in ("flat", "tree"):
        assert 0 < found[f"{layout}/mean"] <= found[f"{layout}/max"] < 1e-3 and found[f"{layout}/outside"] == 0
    assert 0 < found["entropy"] < 6.3


def test_a_push_is_measured_with_open_sequences(bench: Workbench) -> None:
    version = bench.policy.sampler.version
    found = bench.measure(BenchPart("push", 2, 8, 8), LONG)
    assert found.figures["push_seconds"] > 0 and found.figures["next_token_seconds"] > 0
    assert bench.policy.sampler.version == version + 1


def test_adapters_are_what_is_trained() -> None:
    about = Workbench(toy.subject("model.lora.rank=2", "model.gradient_checkpointing=true")).described()
    assert 0 < about.trained < about.shape.parameters


def test_weights_that_do_not_fit_are_refused_before_they_are_made() -> None:
    huge = {**toy.DIMENSIONS, "hidden_size": 65_536, "intermediate_size": 262_144, "num_hidden_layers": 200}
    subject = toy.subject()
    with pytest.raises(ValueError, match=r"the weights of toy need [\d.]+ GiB, and .* are free"):
        Workbench(type(subject)("toy", subject.config, huge))
