"""Whole runs whose instructions evolve, with a writer behind a loopback server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, get_args

import anyio
import pytest
import torch
from safetensors.torch import load_file

import aepo
from aepo import api, config
from aepo.algorithms import Algorithm, AnyAlgorithm
from aepo.assembly.parts import build
from aepo.config import ConfigError
from aepo.files.instruction import read_instruction, write_instruction
from aepo.instructions.renewal import WriterError
from aepo.rollout.generator import Sampled, Stop
from aepo.runs import checkpoint
from aepo.runs.metrics import read_metrics
from aepo.training.display import Display
from aepo.viewer import read_trees, tree_files
from tests import tiny
from tests.instructions.writer import writing
from tests.kept import comparable

KINDS: tuple[type[Algorithm], ...] = get_args(get_args(AnyAlgorithm)[0])
INSTRUCTIONS = (
    "task.name=tests.training.test_instructions:liking",
    "instructions.enabled=true",
    'instructions.texts=["ab cd"]',
    "instructions.credit=step",
    "instructions.every=2",
    "instructions.min_groups=2",
    "instructions.verify_questions=3",
    "instructions.max_tokens=24",
)

Go = Callable[..., Path]


def liked(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
    """Half of it is that of the tiny task; the other half goes to instructions with "ij" in them."""
    return tiny.early(sample, trajectory) / 2 + ("ij" in (sample.instruction or "")) / 2


def liking() -> aepo.Task:
    """The tiny task, in which instructions matter."""
    return replace(tiny.letters(), reward=liked)


@pytest.fixture
def go(tmp_path: Path, model_folder: Path) -> Go:
    """Start or resume a run; returns its folder."""

    def run(*overrides: str, name: str = "run", resume: bool = False, display: Display | None = None) -> Path:
        settings = tiny.settings(tmp_path / name, model_folder, *INSTRUCTIONS, *overrides)
        api.train_config(config.load(None, settings), resume, display)
        return tmp_path / name

    return run


def steps(run: Path) -> list[dict[str, Any]]:
    return [row for row in read_metrics(run / "metrics.jsonl") if "reward/mean" in row]


def test_weak_instructions_go_and_new_ones_that_do_better_join(go: Go) -> None:
    with writing("ij ij", "<search>ab", "", "kl kl", "ij ij", "mn", "op", "gh") as writer:
        run = go(f"instructions.writer={writer.url}", "train.steps=9")
    rows, kept = steps(run), read_metrics(run / "instructions.jsonl")
    assert [row["step"] for row in kept] == list(range(1, 10))
    renewals = [row for row in rows if "instruction/accepted" in row]
    assert [row["step"] for row in renewals] == [3, 5, 7, 9]
    assert sum(row["instruction/accepted"] for row in renewals) >= 1
    assert kept[-1]["members"][-1]["text"].startswith("ij") and kept[-1]["best"] == kept[-1]["members"][-1]["id"]
    assert sum(row["instruction/proposal_failed"] for row in renewals) >= 2, "a tag and an empty reply are refused"
    for before, after in pairwise(kept):
        ids = {member["id"] for member in after["members"]}
        assert 0 in ids and len(ids) <= 4
        for new in ids - {member["id"] for member in before["members"]}:
            (member,) = [one for one in after["members"] if one["id"] == new]
            assert member["parent"] in {one["id"] for one in before["members"]} and member["born"] == before["step"]
    assert all("Write a better instruction" in text for text in writer.asked)
    assert any("Failed trajectory 1" in text for text in writer.asked)


def test_renewal_costs_what_is_counted(go: Go) -> None:
    with writing("ij ij", "kl") as writer:
        run = go(f"instructions.writer={writer.url}", "train.steps=3")
    rows = steps(run)
    (renewal,) = [row for row in rows if "instruction/accepted" in row]
    tried = renewal["instruction/tried_trajectories"]
    assert tried == 3 * 3, "two candidates and the worst survivor on three questions"
    assert rows[2]["budget/trajectories"] - rows[1]["budget/trajectories"] == 12 + tried
    assert renewal["instruction/writer_tokens"] == len("ij ij") + len("kl")
    more = rows[2]["budget/tokens_sampled"] - rows[1]["budget/tokens_sampled"] - rows[2]["tokens/sampled"]
    assert more > renewal["instruction/writer_tokens"]


def test_a_group_has_one_instruction_and_the_draw_is_logged(go: Go) -> None:
    with writing("ij") as writer:
        run = go(f"instructions.writer={writer.url}", "train.steps=4")
    logged = {row["step"]: row["instruction/groups_histogram"] for row in steps(run)}
    texts = {m["id"]: m["text"] for row in read_metrics(run / "instructions.jsonl") for m in row["members"]}
    words = tiny.tokenizer()
    for path in tree_files(run):
        drawn = Counter[str]()
        for record in read_trees(path):
            told = record.group.sample.instruction
            assert told is not None
            prompt = words.decode(record.group.tree.nodes[0].tokens)
            assert prompt.startswith(f"<|system|>{told}") if told else "<|system|>" not in prompt
            drawn[next(str(id) for id, text in texts.items() if text == told)] += 1
        assert drawn == Counter(logged[record.step])


def test_a_resumed_run_is_equal_to_one_that_was_not_interrupted(go: Go) -> None:
    with writing("ij ij", "kl kl", "mn", "op", "gh") as writer:
        whole = go(f"instructions.writer={writer.url}", "train.steps=6", name="whole")
        calls = len(writer.asked)
        writer.asked.clear()
        # The second process begins at the checkpoint of step 4, before whose next step instructions are renewed.
        go(f"instructions.writer={writer.url}", "train.steps=4")
        parts = go(f"instructions.writer={writer.url}", "train.steps=6", resume=True)
        assert len(writer.asked) == calls
    assert [comparable(row) for row in read_metrics(whole / "metrics.jsonl") if "eval/success" not in row] == [
        comparable(row) for row in read_metrics(parts / "metrics.jsonl") if "eval/success" not in row
    ]
    assert read_metrics(whole / "instructions.jsonl") == read_metrics(parts / "instructions.jsonl")
    ends = [checkpoint.latest(run / "checkpoints") for run in (whole, parts)]
    ours, theirs = (load_file(end / "policy" / "model.safetensors") for end in ends if end is not None)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    states = [checkpoint.state(run / "checkpoints") for run in (whole, parts)]
    assert states[0] is not None and states[1] is not None
    assert states[0]["instructions"] == states[1]["instructions"]


def test_steps_after_a_checkpoint_are_dropped_from_what_the_viewer_reads(go: Go) -> None:
    with writing("ij") as writer:
        run = go(f"instructions.writer={writer.url}", "train.steps=3")
        rows = (run / "instructions.jsonl").read_text()
        (run / "instructions.jsonl").write_text(rows + rows.splitlines()[-1].replace('"step": 3', '"step": 4') + "\n")
        go(f"instructions.writer={writer.url}", "train.steps=4", resume=True)
    assert [row["step"] for row in read_metrics(run / "instructions.jsonl")] == [1, 2, 3, 4]


def test_the_best_instruction_goes_with_the_policy(go: Go, model_folder: Path) -> None:
    with writing("ij ij") as writer:
        run = go(f"instructions.writer={writer.url}", "train.steps=5")
    best = next(m for m in read_metrics(run / "instructions.jsonl")[-1]["members"] if m["id"] == _best(run))
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None and read_instruction(newest / "policy") == best["text"]
    # Whatever the run came to: a policy with an instruction is evaluated under it.
    write_instruction(newest / "policy", "ef gh")
    policy = aepo.load_policy(str(newest / "policy"))
    result = aepo.evaluate(policy, tiny.letters(), samples=1, greedy=False, config=config.load(run / "config.yaml"))
    prompt = policy.decode(result.sampled[0].tree.nodes[0].tokens)
    assert prompt.startswith("<|system|>ef gh")
    policy.save(run / "copy")
    assert read_instruction(run / "copy") == "ef gh"


def _best(run: Path) -> int:
    return int(read_metrics(run / "instructions.jsonl")[-1]["best"])


def test_the_held_out_score_under_the_own_instruction_is_beside_that_of_the_best(go: Go) -> None:
    with writing("ij ij") as writer:
        run = go(f"instructions.writer={writer.url}", "train.steps=6")
    best = {row["step"]: row["best"] for row in read_metrics(run / "instructions.jsonl")}
    measured = [row for row in read_metrics(run / "metrics.jsonl") if "eval/success" in row and row["step"]]
    assert any(best[row["step"]] != 0 for row in measured)
    assert all(("instruction/own_success" in row) == (best[row["step"]] != 0) for row in measured)


class Scribe:
    """An engine that writes the same reply to everything, and keeps what it read."""

    def __init__(self, reply: list[int], stopped: bool = True) -> None:
        self.reply, self.stopped, self.read, self.closed = reply, stopped, [[]], 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    def open(self, tokens: list[int], noise: int) -> list[int]:
        self.read.append(list(tokens))
        return self.read[-1]

    async def sample(self, sequence: list[int], most: int, stop: Stop) -> Sampled:
        return Sampled(self.reply, [0.0] * len(self.reply), [0.0] * len(self.reply), self.stopped)

    def close(self, sequence: list[int]) -> None:
        self.closed += 1


def test_the_policy_writes_in_the_room_that_a_trajectory_has(tmp_path: Path, model_folder: Path) -> None:
    settings = tiny.settings(tmp_path / "run", model_folder, *INSTRUCTIONS, "rollout.max_tokens=400")
    _, parts = build(config.load(None, settings), liking())
    renewal, words = parts.instructions, tiny.tokenizer()
    assert renewal is not None
    parts.agent.generator = scribe = Scribe(words.encode("ab cd<|end|>"))  # type: ignore[assignment]
    assert anyio.run(renewal.writer, ["a" * 900, "b" * 200, "c"], 1) == "ab cd"
    assert words.decode(scribe.read[-1]).count("b") == 200 and scribe.closed == 1, "the longest that has room"
    with pytest.raises(WriterError, match=r"the request does not fit into 3\d\d tokens"):
        anyio.run(renewal.writer, ["a" * 900], 1)
    scribe.stopped = False
    with pytest.raises(WriterError, match="did not end its reply within 24 tokens"):
        anyio.run(renewal.writer, ["a"], 1)


def test_a_run_whose_policy_cannot_write_goes_on(go: Go, capsys: pytest.CaptureFixture[str]) -> None:
    run = go("train.steps=3")
    assert steps(run)[-1]["instruction/proposal_failed"] == 2
    assert "the request does not fit" in capsys.readouterr().out


def test_without_a_writer_a_run_goes_on_and_says_so(go: Go, capsys: pytest.CaptureFixture[str]) -> None:
    with writing("ij") as writer:
        gone = writer.url
    run = go(f"instructions.writer=tiny@{gone}", "instructions.proposals=1", "train.steps=3")
    (renewal,) = [row for row in steps(run) if "instruction/accepted" in row]
    assert renewal["instruction/proposal_failed"] == 1 and renewal["step"] == 3
    told = capsys.readouterr()
    (line,) = [line for line in (told.out + told.err).splitlines() if "no new instruction" in line]
    assert "is not available" in line and "training goes on" in line


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        ("", "a new instruction was refused: it is empty"),
        ("ab cd", "a new instruction was refused: another instruction has the same text"),
        ("a </search> b", "a new instruction was refused: it holds '</search>'"),
        (None, "a new instruction was refused: it is empty"),
    ],
)
def test_a_reply_that_is_no_instruction_is_one_line_and_the_run_goes_on(
    go: Go, capsys: pytest.CaptureFixture[str], reply: str | None, line: str
) -> None:
    with writing(reply) as writer:
        run = go(f"instructions.writer={writer.url}", "train.steps=3")
    assert steps(run)[-1]["instruction/proposal_failed"] == 2 and steps(run)[-1]["step"] == 3
    told = capsys.readouterr()
    (found,) = [text for text in (told.out + told.err).splitlines() if line in text]
    assert found.startswith("after step 2: ") and "training goes on" in found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_algorithm_runs_under_it(kind: type[Algorithm], tmp_path: Path, model_folder: Path) -> None:
    with writing("ij") as writer:
        overrides = (*INSTRUCTIONS, f"instructions.writer={writer.url}", "train.steps=3")
        settings = config.load(None, tiny.settings(tmp_path / "run", model_folder, *overrides))
        api.train_config(settings.model_copy(update={"algorithm": kind(group_size=6)}))
    assert steps(tmp_path / "run")[-1]["instruction/tried_trajectories"] > 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["instructions.population=0"], "instructions.population"),
        (['instructions.texts=["<search>a</search>"]'], "it holds '<search>'"),
        (['instructions.texts=["ab","ab "]'], "has 'ab' twice"),
        (['instructions.texts=[" "]'], "an empty text"),
        (['instructions.texts=["a","b","c","d"]'], "raise instructions.population"),
        (['instructions.texts=["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]'], "24 are allowed"),
        (["instructions.writer=gpt"], "MODEL@http://host:port/v1"),
        (["instructions.writer=m@ftp://x"], "a server's address is"),
        (["instructions.max_tokens=500"], "built for 512 .*lower instructions.max_tokens, which takes 500 of these"),
    ],
)
def test_bad_input_is_one_line(go: Go, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        go(*overrides)
    assert "\n" not in str(refused.value)
