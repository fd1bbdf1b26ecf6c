"""A policy that vLLM samples for is asked under the instructions that were drawn."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from aepo import api
from aepo.runs.metrics import read_metrics
from aepo.viewer import read_trees, tree_files
from tests import tiny
from tests.engines.vllm.conftest import Serve, Settings

INSTRUCTIONS = (
    "instructions.enabled=true",
    'instructions.texts=["ab cd","ef gh"]',
    "instructions.credit=step",
    "instructions.max_tokens=24",
    "rollout.questions=4",
)


def test_the_server_is_asked_under_the_drawn_instruction(serve: Serve, settings: Settings, tmp_path: Path) -> None:
    server, words = serve(), tiny.tokenizer()
    api.train_task(settings(server, *INSTRUCTIONS), tiny.letters())
    # What only checks that the weights arrived has small seeds; those of paths are random keys.
    asked = [words.decode(body["prompt"]) for body in server.requests() if body["seed"] > 100]
    drawn = defaultdict(set)
    for record in (record for path in tree_files(tmp_path / "run") for record in read_trees(path)):
        drawn[record.group.sample.question].add(record.group.sample.instruction)
        prompt = words.decode(record.group.tree.nodes[0].tokens)
        assert sum(text.startswith(prompt) for text in asked) >= len(record.group.tree.leaves)
    assert len(set().union(*drawn.values())) > 1
    for question, told in drawn.items():
        seen = {text.partition("<|user|>")[0] for text in asked if f"<|user|>{question}<" in text}
        assert seen == {f"<|system|>{one}" if one else "" for one in told}, question
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "train/learning_rate" in row]
    assert [sum(row["instruction/groups_histogram"].values()) for row in rows] == [4, 4]
    kept = read_metrics(tmp_path / "run" / "instructions.jsonl")
    assert any(member["weight"] for member in kept[-1]["members"])
