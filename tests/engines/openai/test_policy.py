"""A model behind a server is measured and explored as one in this process is, and is not trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

import aepo
from aepo import api
from aepo.assembly.parts import build
from aepo.cli import main
from aepo.config import ConfigError, load
from aepo.core.scale import segment_entropy
from aepo.engines.openai.policy import ServerPolicy
from aepo.equipment.agents import agents
from aepo.rollout.explorer import Seeds, explore
from aepo.types import Kind, Origin, TrajectoryTree
from aepo.viewer import read_trees, tree_files
from tests import tiny
from tests.engines.openai.conftest import Serve
from tests.engines.openai.server import ModelServer, failing

Link = Callable[[ModelServer], ServerPolicy]


def settings(url: str, model_folder: Path, *overrides: str) -> list[str]:
    own = tiny.settings(Path("unused"), model_folder, f"model.path={url}", f"model.tokenizer={model_folder}")
    return [*own, "rollout.deterministic=false", "rollout.max_sequences=12", *overrides]


def test_a_group_of_aepo_grows_over_a_server(serve: Serve, link: Link, model_folder: Path) -> None:
    server = serve()
    policy = link(server)
    config = load(None, settings(server.url, model_folder, "algorithm.tau=0"))
    task = tiny.letters()
    sampler, _ = agents(policy, task, config, task.samples)
    rules = config.algorithm.exploration()

    async def grow() -> list[aepo.Group]:
        state = rules.initial_state(len(policy.tokenizer))
        return await explore(task.samples[:2], sampler, rules, state, Seeds(0, 1))

    server.asked.clear()
    groups = anyio.run(grow)
    assert [len(group.tree.leaves) for group in groups] == [6, 6]
    assert any(leaf.origin is Origin.BRANCH for group in groups for leaf in group.tree.leaves)
    assert len(server.requests()) > 12
    for group in groups:
        tree = group.tree
        assert TrajectoryTree.from_json(tree.to_json()) == tree
        for node in tree.nodes:
            expected = len(node.tokens) if node.kind is Kind.POLICY else 0
            assert len(node.logprobs) == len(node.entropies) == expected
            assert all(lp <= 0 for lp in node.logprobs) and all(h >= 0 for h in node.entropies)
        for leaf in tree.leaves:
            first = next(node for node in tree.walk(leaf.node) if node.kind is Kind.POLICY)
            whole = [h for part in tree.turn(first.id) for h in part.entropies]
            assert leaf.root_entropy == pytest.approx(segment_entropy(whole, 3))


def test_evaluate_takes_an_address(serve: Serve, model_folder: Path) -> None:
    server = serve("sglang")
    config = load(None, settings(server.url, model_folder))
    found = aepo.evaluate(server.url, tiny.letters(), samples=2, config=config)
    assert [len(group.tree.leaves) for group in found.sampled] == [2, 2]
    assert found.greedy_success is not None and 0 <= found.passes(2).mean <= 1


def test_greedy_success_is_that_of_the_model_in_this_process(serve: Serve, model_folder: Path) -> None:
    server = serve("llamacpp")
    config = load(None, settings(server.url, model_folder))
    task = tiny.letters()
    remote = aepo.evaluate(server.url, task, samples=1, config=config)
    local = aepo.evaluate(str(model_folder), task, samples=1, config=load(None, tiny.settings(Path("x"), model_folder)))
    for there, here in zip(remote.greedy, local.greedy, strict=True):
        assert [node.tokens for node in there.tree.nodes] == [node.tokens for node in here.tree.nodes]


def test_without_log_probabilities_it_can_be_measured_and_not_explored(
    serve: Serve, link: Link, model_folder: Path
) -> None:
    server = serve(most=None)
    config = load(None, settings(server.url, model_folder))
    found = aepo.evaluate(server.url, tiny.letters(), samples=2, config=config)
    (trajectory, _) = found.sampled[0].trajectories()
    assert len(trajectory.logprobs) == len(trajectory.tokens) and set(trajectory.logprobs) == {0.0}
    task = tiny.letters()
    sampler, _ = agents(link(server), task, config, task.samples)
    rules = config.algorithm.exploration()
    with pytest.raises(ValueError, match="read token entropies, and the engine gives none"):
        anyio.run(lambda: explore(task.samples, sampler, rules, rules.initial_state(9), Seeds(0, 1)))


def test_a_server_is_not_trained(serve: Serve, model_folder: Path) -> None:
    server = serve()
    config = load(None, settings(server.url, model_folder))
    with pytest.raises(ConfigError, match=r"model.path is a server \(http.*\), which cannot be trained"):
        build(config, tiny.letters())
    assert not server.asked


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
@pytest.mark.parametrize("protocol", ["tags", "chat"])
def test_every_request_has_the_ends_that_files_beside_the_tokenizer_declare(
    kind: str, protocol: str, serve: Serve, tmp_path: Path
) -> None:
    words = tiny.tokenizer()
    words.save_pretrained(tmp_path)
    first, second = words.convert_tokens_to_ids(["<|system|>", "<|user|>"])
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"eos_token_id": first}}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [second], "stop_strings": ["ab"]}))
    server = serve(kind)
    config = load(None, settings(server.url, tmp_path, f"rollout.protocol={protocol}"))
    policy = api.load_policy(server.url, config.model)
    server.asked.clear()
    aepo.evaluate(policy, tiny.letters(), samples=2, config=config)
    asked = [body.get("sampling_params", body) for body in server.requests()]
    assert asked and all({first, second, words.eos_token_id} <= set(one["stop_token_ids"]) for one in asked)
    assert all("ab" in one["stop"] for one in asked)


def test_settings_of_servers_are_refused_for_folders(model_folder: Path) -> None:
    config = load(None, [f"model.path={model_folder}", "model.tokenizer=x"])
    with pytest.raises(ConfigError, match=r"model.tokenizer is set, but .* is no server"):
        api.load_policy(str(model_folder), config.model)


def test_the_command_line_measures_a_server_on_a_task_with_its_cost(
    serve: Serve, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    own = settings(server.url, model_folder, "model.price.sampled=1000000", "tools.limits.search.price=100")
    out = tmp_path / "out"
    assert main(["eval", server.url, *own, "--samples", "2", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert f"tiny@{server.url} on 2 questions of letters, 2 samples each" in shown
    records = [record for path in tree_files(out, [0]) for record in read_trees(path)]
    written = [sum(sum(t.loss_mask) for t in record.group.trajectories()) for record in records]
    calls = [sum(len(t.calls) for t in record.group.trajectories()) for record in records]
    cost = (sum(written) + 100 * sum(calls)) / 2
    assert f"cost    {cost:.3g}" in shown
    assert server.url.removesuffix("/v1") not in str(out)


def test_a_server_that_is_gone_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from aepo.engines.openai import client

    monkeypatch.setattr(client, "ATTEMPTS", 1)
    assert main(["eval", "http://127.0.0.1:9/v1", "task.name=tests.tiny:letters"]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "server http://127.0.0.1:9/v1 is not available: ConnectError" in error


def test_what_was_answered_before_a_server_failed_is_kept_and_resume_goes_on(
    serve: Serve, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    data = tmp_path / "gsm8k.jsonl"
    rows = [{"question": f"{a}{b}?", "answer": "#### 5"} for a in "abc" for b in "def"]
    data.write_text("\n".join(map(json.dumps, rows)))
    own = [f"model.tokenizer={model_folder}", "rollout.max_tokens=40", "rollout.max_sequences=4"]
    command = ["eval", "gsm8k", *own, "--model", server.url, "--data", str(data), "--tools", "tests.tiny:search"]
    command += ["--samples", "2"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    told = capsys.readouterr().out
    assert f"tiny@{server.url}: 2 answers a question" in told
    assert "token entropies in the trees: lower bounds from the likeliest tokens (topk)" in told
    server.faults.extend([None] * 24 + [failing(500, {"error": "lost"})] * 9)
    assert main([*command, "--out", str(tmp_path / "broken")]) == 1
    assert "failed (HTTP 500): lost" in capsys.readouterr().err
    server.faults.clear()
    answers = tmp_path / "broken" / "gsm8k" / "answers.jsonl"
    kept = answers.read_text().splitlines()
    assert 0 < len(kept) < 9
    assert main([*command, "--out", str(tmp_path / "broken"), "--resume"]) == 0
    assert answers.read_text().splitlines()[: len(kept)] == kept

    def said(folder: str) -> dict[str, list[str]]:
        lines = (tmp_path / folder / "gsm8k" / "answers.jsonl").read_text().splitlines()
        return {one["id"]: one["answers"] for one in map(json.loads, lines)}

    # Seeds belong to questions and samples: what is asked later draws as it would have drawn then.
    assert said("broken") == said("whole")
    folder = tmp_path / "broken" / "gsm8k"
    assert sum(len(list(read_trees(path))) for path in tree_files(folder)) == 9
    settings = json.loads((tmp_path / "broken" / "settings.json").read_text())
    assert (settings["served"], settings["entropy_estimator"]) == (f"tiny@{server.url}", "topk")
    server.name = "another"
    answers.write_text("\n".join(kept) + "\n")
    assert main([*command, "--out", str(tmp_path / "broken"), "--resume"]) == 2
    assert f"served was 'tiny@{server.url}' and is now 'another@{server.url}'" in capsys.readouterr().err


def test_answers_are_scored_again_when_the_server_is_gone(
    serve: Serve, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    data = tmp_path / "gsm8k.jsonl"
    data.write_text(json.dumps({"question": "ab?", "answer": "#### 5"}))
    command = ["eval", "gsm8k", f"model.tokenizer={model_folder}", "rollout.max_tokens=40", "--model", server.url]
    command += ["--data", str(data), "--tools", "none", "--samples", "1", "--out", str(tmp_path / "out"), "--resume"]
    assert main(command) == 0
    server.answer = lambda path, body: (404, {})  # type: ignore[method-assign]
    assert main([*command, "--score", "words"]) == 0
    assert f"tiny@{server.url}: 1 answers a question" in capsys.readouterr().out
    assert (tmp_path / "out" / "table.md").read_text().startswith(f"# tiny@{server.url}\n")
