"""`aepo prompt` prints what a model reads: the text is that of the ids which a rollout sends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import aepo
from aepo import config
from aepo.cli import main
from aepo.environments import environment
from aepo.equipment.models import BUILT_IN_MODELS
from tests import tiny
from tests.environments.worlds import Maze
from tests.rollout.chat.published import source, tokenizer

HERE = "tests.cli.test_prompt"
SYSTEM = "Be brief."
ATLAS = BUILT_IN_MODELS["atlas"]


def told() -> aepo.Task:
    """A task with words of its own above the description of its tool."""
    return aepo.Task("told", tiny.samples(2), [tiny.search], tiny.early, system=SYSTEM)


def maze() -> aepo.Task:
    """A task whose questions begin with what a world shows."""
    return aepo.Task("maze", tiny.samples(1), reward=tiny.early, environment=environment(Maze))


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without training, with a chat template that shows tools."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder, words = tmp_path_factory.mktemp("chat"), tokenizer(source("qwen3"))
    words.pad_token = "<|endoftext|>"
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def sent(model: Path, task: aepo.Task, *settings: str) -> str:
    """The text of the prompt that a rollout of the task's first question begins with."""
    policy = aepo.load_policy(str(model))
    chosen = config.load(None, (f"model.path={model}", "rollout.max_tokens=4", *settings))
    (group,) = aepo.evaluate(policy, task, 1, False, task.samples[:1], chosen).sampled
    return policy.decode(group.tree.nodes[0].tokens)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The texts between the titles."""
    assert main(["prompt", *words]) == 0
    out = capsys.readouterr().out
    return ["\n".join(part.splitlines()[1:]) for part in out.split("--- ")[1:]]


@pytest.mark.parametrize("make", [told, maze])
def test_the_prompt_under_tags_is_the_one_that_a_rollout_sends(
    capsys: pytest.CaptureFixture[str], make: Callable[[], aepo.Task]
) -> None:
    task = make()
    shown = printed(capsys, f"{HERE}:{task.name}", "model.path=atlas")
    assert shown[0] == sent(ATLAS, task)
    assert shown[0].endswith("<|assistant|>")


def test_the_prompt_under_chat_is_the_one_that_a_rollout_sends(
    capsys: pytest.CaptureFixture[str], chat_folder: Path
) -> None:
    shown, call, result = printed(capsys, f"{HERE}:told", f"model.path={chat_folder}", "rollout.protocol=chat")
    assert shown.rstrip("\n") == sent(chat_folder, told(), "rollout.protocol=chat").rstrip("\n")
    assert "Be brief." in shown and '"name": "search"' in shown
    assert '"query": "the query"' in call and "(what search returns)" in result


def test_the_opening_of_an_environment_stands_in_the_prompt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown, *_ = printed(capsys, "house")
    assert "open the chest.\nYou are in the " in shown


def test_the_instruction_of_a_policy_stands_in_the_prompt(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ATLAS, tmp_path / "model"))
    before, *_ = printed(capsys, f"{HERE}:told", f"model.path={folder}")
    (folder / "instruction.txt").write_text("abc")
    after, *_ = printed(capsys, f"{HERE}:told", f"model.path={folder}")
    assert "abc" not in before and "abc" in after
    assert after == sent(folder, told())


def test_a_run_brings_its_system_text_and_the_instruction_of_its_newest_policy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    words = [*tiny.settings(run, ATLAS, "train.steps=0"), f"task.name={HERE}:told"]
    assert main(["train", *words]) == 0
    capsys.readouterr()
    (policy,) = run.glob("checkpoints/*/policy")
    (policy / "instruction.txt").write_text("abc")
    monkeypatch.setattr(f"{HERE}.SYSTEM", "Be long.")
    shown, *_ = printed(capsys, str(run))
    assert "abc" in shown and "Be brief." in shown and "Be long." not in shown
    start, *_ = printed(capsys, str(run), "model.path=atlas")
    assert "abc" not in start and "Be brief." in start


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nosuchtask"], "aepo: unknown task 'nosuchtask': known: atlas"),
        (["nosuchfile.yaml"], "aepo: cannot read nosuchfile.yaml"),
    ],
)
def test_a_task_that_is_missing_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], line: str) -> None:
    assert main(["prompt", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and err.startswith(line)
