"""`aepo settings` says what a setting means, from the classes that hold it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aepo import config
from aepo.cli import main
from aepo.config import about


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["settings", *words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_every_setting_of_every_algorithm_has_a_meaning_and_values() -> None:
    found = about.settings()
    assert [one.key for one in found if not one.meaning or not one.values or "a value" in one.values] == []
    resolved = config.flat(config.Config().model_dump(mode="json"))
    keys = {one.key for one in found if one.algorithm in ("", "aepo")}
    assert resolved.keys() <= keys
    assert {one.key: one.default for one in found if one.key == "train.steps"} == {"train.steps": 100}


def test_one_setting_has_its_meaning_its_range_its_default_and_what_configurations_make_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys, "train.learning_rate")
    assert text.startswith("train.learning_rate AdamW's learning rate after the warm-up")
    assert "values a number above 0, or auto default auto" in text and "set to 3e-4 in quickstart" in text


def test_the_last_word_is_enough_and_algorithms_that_differ_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "gamma")
    assert "algorithm.gamma (aepo, arpo) Weight of the scaled entropy change." in text
    assert "algorithm.gamma (gigpo) Discount of the reward per turn. values a number from 0 to 1 default 0.95" in text
    assert "default 0.5 (aepo)" not in shown(capsys, "tau"), "one default for all is said once"
    assert "default token-mean (aepo), seq-mean-token-mean (arpo)" in shown(capsys, "aggregation")


def test_a_preset_of_the_algorithm_shows_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "algorithm.min_global")
    assert "preset 0.0 with algorithm.name=aepo algorithm.preset=paper" in text and "default 0.25" in text


def test_a_configuration_or_a_run_shows_its_own_value(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("train: {steps: 7}\n")
    assert f"here 7 in {tmp_path}" in shown(capsys, "train.steps", str(tmp_path))
    assert "here 0.6 in quickstart" in shown(capsys, "tau", "quickstart")


def test_a_section_and_all_settings_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "train.trust.rule clip train.trust.bound null" in shown(capsys, "train.trust")
    assert "seed 0" in shown(capsys) and "algorithm.aggregation" in shown(capsys)


def test_a_name_in_a_key_is_the_user_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert "tools.limits.NAME.timeout Seconds for one call." in shown(capsys, "tools.limits.search.timeout")


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("train.learning_rte", "did you mean train.learning_rate"),
        ("learningrate", "did you mean train.learning_rate?"),
        ("algoritm.tau", "did you mean algorithm.tau"),
        ("xyzzy", "aepo settings lists all"),
    ],
)
def test_a_wrong_key_gets_the_nearest_ones(capsys: pytest.CaptureFixture[str], word: str, line: str) -> None:
    assert main(["settings", word]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and line in err


def test_a_reader_that_has_enough_is_no_error() -> None:
    program = "import sys; from aepo.cli import main; sys.exit(main())"
    command = f'"{sys.executable}" -c "{program}" settings'
    done = subprocess.run(["bash", "-o", "pipefail", "-c", f"{command} | head -1"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") == 1


def test_a_missing_package_is_known_before_the_task_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("aepo.doctor.extras.find_spec", lambda name: None)
    monkeypatch.setattr("aepo.tasks.load", lambda *given: pytest.fail("the task was loaded"))
    assert main(["train", "quickstart", "train.trackers=[wandb]", f"run={tmp_path / 'run'}"]) == 2
    line = 'aepo: train.trackers needs the package wandb: pip install "aepo-rl[wandb]"'
    assert capsys.readouterr().err.strip() == line and not (tmp_path / "run").exists()
