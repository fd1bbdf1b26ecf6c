"""Published data sets: each gold answer matches itself, and no changed one does. Needs the files; skipped without."""

import json
import re
from pathlib import Path

import pytest

from aepo.rewards import equivalent, exact_match, token_f1
from aepo.rewards.answer import number

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
QUESTIONS = ["2wiki", "SimpleQA", "bamboogle", "hotpotqa", "musique"]


def golds(name):
    path = DATA / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no {name}.jsonl next to the repository")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert rows
    answers = [row["answer"] for row in rows]
    return [a.split("####")[-1].strip() for a in answers] if name == "gsm8k" else answers


def changed(text):
    """Another answer: the next number, or a word that is in no answer in front."""
    value = number(text)
    return f"qxzy {text}" if value is None else str(value + 1)


@pytest.mark.parametrize("name", QUESTIONS)
def test_text_answers(name):
    for aliases in golds(name):
        for alias in aliases:
            assert exact_match(alias, aliases) == 1.0, alias
            assert token_f1(alias, aliases) == 1.0, alias
            assert exact_match(changed(alias), alias) == 0.0, alias
            assert token_f1(changed(alias), alias) < 1.0, alias


def test_gsm8k():
    for gold in golds("gsm8k"):
        assert number(gold) is not None, gold
        for score in (exact_match, token_f1, equivalent):
            assert score(gold, gold) == 1.0
            assert score(changed(gold), gold) == 0.0
            assert score(f"${gold}.00", gold) == 1.0


def test_math500_matches_itself():
    for gold in golds("math500"):
        assert equivalent(gold, gold) == exact_match(gold, gold) == 1.0, gold
        assert equivalent(f"\\boxed{{{gold}}}", gold) == 1.0, gold


def test_math500_numbers_plus_one_are_wrong():
    for gold in golds("math500")[:200]:
        if re.fullmatch(r"-?\d+", gold):
            assert equivalent(str(int(gold) + 1), gold) == equivalent(f"{gold} + 1", gold) == 0.0, gold
