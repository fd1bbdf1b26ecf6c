"""The configuration refuses what it does not know, in one line that helps."""

from __future__ import annotations

import json
import tempfile
from math import inf
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aepo.config import Config, ConfigError, dump, flat, load, parse
from aepo.config.files import SHIPPED, scalar

CONFIGS = [file for file in sorted(SHIPPED.glob("*.yaml")) if not file.name.startswith("compare-")]


def test_a_name_alone_is_a_configuration_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load("quickstart") == load(SHIPPED / "quickstart.yaml")
    (tmp_path / "quickstart").write_text("seed: 7", encoding="utf-8")
    assert load("quickstart") == load(None, ["seed=7"]), "a file of one's own comes first"
    with pytest.raises(ConfigError, match=r"^cannot read quikstart: .*; those of the package are .*quickstart,"):
        load("quikstart")
    with pytest.raises(ConfigError, match=r"^cannot read quickstart.yaml: No such file or directory$"):
        load("quickstart.yaml")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.stepz=4", "unknown key 'train.stepz': did you mean 'steps'?"),
        ("sed=1", "unknown key 'sed': did you mean 'seed'?"),
        ("algorithm.gama=1", "unknown key 'algorithm.gama': did you mean 'gamma'?"),
        ("model.lora.ranks=8", "unknown key 'model.lora.ranks': did you mean 'rank'?"),
        (
            "algorithm.name=aepoo",
            "unknown algorithm 'aepoo': did you mean 'aepo'? known: "
            "aepo, arpo, axpo, cispo, dapo, gigpo, gppo, grpo, reinforce_pp",
        ),
        ("algorithm.group_size=1", "algorithm.group_size: input should be greater than or equal to 2, got 1"),
        ("algorithm.probes=9", "algorithm: probes is 9, it must be between 1 and group_size = 8"),
        ("rollout.protocol=xml", "rollout.protocol: input should be 'tags' or 'chat', got 'xml'"),
        ("train.steps", "cannot read 'train.steps': write key=value, e.g. train.steps=50"),
        ("seed.x=1", "seed: input should be a valid integer"),
        ("train.steps=[", "cannot read the value in 'train.steps=['"),
        ("engine=ray", "engine: input should be 'local', 'vllm' or 'verl', got 'ray'"),
        (
            "engine=trl",
            "engine: trl is not there any more: use engine: local to train in this process, "
            "or AEPOTrainer in a script for TRL (docs/trl.md)",
        ),
        ("run=", "run: input should be a valid string, got None"),
        (
            "train.correction=mask",
            "train: correction would count the sampler's difference twice: with old_logprobs rollout the loss has the "
            "whole ratio. Set train.old_logprobs: recompute, or train.correction: none",
        ),
        (
            "train.correction_cap=3",
            "train: correction_level and correction_cap do nothing without a correction: set train.correction: "
            "truncate or mask, or leave them out",
        ),
        (
            "train.correction_floor=0.5",
            "train: correction_floor is for train.correction: mask; set train.correction_floor: null",
        ),
        ("seed=0x10", "seed: input should be a valid integer, unable to parse string as an integer, got '0x10'"),
    ],
)
def test_a_bad_override_is_refused_with_the_way_out(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(None, [override])
    assert str(error.value) == line


def test_an_unknown_key_without_a_likeness_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown key 'evaluation\.zzz': known here: every, questions, samples, greedy"
    ):
        load(None, ["evaluation.zzz=1"])


def test_arguments_of_the_chat_template_are_what_they_look_like() -> None:
    given = ["rollout.template.enable_thinking=false", "rollout.template.effort=low", "rollout.template.file=~/a.jinja"]
    template = load(None, given).rollout.template
    assert template == {"enable_thinking": False, "effort": "low", "file": str(Path.home() / "a.jinja")}
    with pytest.raises(ConfigError, match=r"rollout\.template: file is the path of a chat template: write file:"):
        load(None, ["rollout.template.file=3"])


def test_a_key_of_one_algorithm_is_unknown_to_another() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'algorithm\.tau'"):
        load(None, ["algorithm.name=grpo", "algorithm.tau=0.5"])


@pytest.mark.parametrize("name", ["grpo", "axpo", "cispo"])
def test_another_algorithm_than_the_files_takes_from_it_what_all_share(name: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("algorithm: {name: aepo, tau: 0.6, group_size: 4, kl_weight: 0.1, gamma: 0.9}\n")
    expected = parse({"algorithm": {"name": name, "group_size": 4, "kl_weight": 0.1}})
    assert load(file, [f"algorithm.name={name}"]) == expected


@pytest.mark.parametrize("named", ["name: aepo, ", ""])
def test_the_files_own_algorithm_keeps_all_that_the_file_says(named: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"algorithm: {{{named}tau: 0.6, group_size: 4}}\n")
    assert load(file, ["algorithm.name=aepo"]) == parse({"algorithm": {"tau": 0.6, "group_size": 4}})


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("seed: 3\ntrain: {steps: 7, learning_rate: 1e-4}\n")
    config = load(file, ["train.steps=9"])
    assert (config.seed, config.train.steps, config.train.learning_rate) == (3, 9, 1e-4)
    assert config.train.minibatches == Config().train.minibatches


def test_an_override_of_something_inside_a_value_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("train: {steps: 7}\n")
    with pytest.raises(ConfigError, match=r"train\.steps is a value, it has no key 'x'"):
        load(file, ["train.steps.x=1"])


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "just words"])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        load(file)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot read nowhere\.yaml: No such file or directory"):
        load("nowhere.yaml")


def test_a_preset_fills_what_is_not_set() -> None:
    paper = load(None, ["algorithm.preset=paper", "algorithm.pacing=even"]).algorithm
    assert (paper.tau, paper.entropy_scale, paper.min_global, paper.pacing) == (0.5, "log_vocab", 0.0, "even")
    reference = load(None, ["algorithm.preset=reference"]).algorithm
    assert (reference.branch_rule, reference.entropy_scale, reference.pacing) == ("reference", "reference", "none")


@pytest.mark.parametrize(
    "overrides", [[], ["algorithm.preset=reference"], ["algorithm.name=grpo", "model.lora.rank=4"]]
)
def test_what_is_dumped_reads_back_equal(overrides: list[str]) -> None:
    config = load(None, overrides)
    assert parse(yaml.safe_load(dump(config))) == config


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_shipped_configurations_are_valid(file: Path) -> None:
    assert load(file).train.steps >= 1


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("tools.mod=replay", "unknown key 'tools.mod': did you mean 'mode'?"),
        ("tools.limits.search.raet=5", "unknown key 'tools.limits.search.raet': did you mean 'rate'?"),
        ("tools.services.brave.price=5", "unknown key 'tools.services.brave.price': known here: concurrency, rate, b"),
        ("tools.limits.search.rate=0", "tools.limits.search.rate: input should be greater than 0, got 0"),
        ("tools.budget.cals=5", "unknown key 'tools.budget.cals': did you mean 'calls'?"),
        ("rollout.max_seconds=0", "rollout.max_seconds: input should be greater than 0, got 0"),
        ("rollout.on_format_error=stop", "rollout.on_format_error: input should be 'end' or 'tell', got 'stop'"),
        ("tools.mode=off", "tools.mode: input should be 'live', 'cached', 'record' or 'replay', got 'off'"),
    ],
)
def test_a_bad_setting_of_tools_is_refused_with_the_way_out(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(None, [override])
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("001", "run", "001"),
        ("2024-05-01", "run", "2024-05-01"),
        ("no", "run", "no"),
        ("runs/a #1: b", "run", "runs/a #1: b"),
        ("7", "model.name", "7"),
        ("1e-4", "train.learning_rate", 1e-4),
        ("1", "train.learning_rate", 1.0),
        ("yes", "rollout.deterministic", True),
        ("off", "rollout.deterministic", False),
        ("null", "train.threads", None),
        (".inf", "instructions.temperature", inf),
        ("", "tools.cache", None),
        ("1e-4", "verl.actor.lr", 1e-4),
        ("true", "verl.+new.key", True),
    ],
)
def test_a_setting_has_its_own_type_however_it_is_written(written: str, key: str, value: object) -> None:
    settings = load(None, [f"{key}={written}"])
    found = flat(settings.model_dump())[key]
    assert found == value and type(found) is type(value)
    assert parse(yaml.safe_load(dump(settings))) == settings


def test_what_must_repeat_cannot_depend_on_the_clock() -> None:
    with pytest.raises(ConfigError, match=r"^rollout: rollout\.max_seconds lets the speed .* to false$"):
        load(None, ["rollout.deterministic=true", "rollout.max_seconds=60"])
    assert load(None, ["rollout.max_seconds=60"]).rollout.max_seconds == 60.0


@given(st.text(st.characters(codec="utf-8"), max_size=12) | st.integers().map(str) | st.floats().map(repr))
def test_a_plain_word_is_never_changed(text: str) -> None:
    """It is a text as it stands, or a value that is written again as it stood."""
    value = scalar(text)
    if value is None:
        assert text in ("", "~", "null")
    elif text in (".inf", "-.inf"):
        assert abs(value) == inf
    else:
        assert value == text or json.dumps(value) in (text, text.replace(".0e", "e"))


@given(st.text("~/ab [{'", max_size=8))
def test_what_a_file_holds_reads_back_equal(text: str) -> None:
    settings = parse({"run": text, "task": {"options": {"a": text, "b": [text, 1e-6, 5, True, None]}}})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(dump(settings), encoding="utf-8")
        assert load(file) == settings
