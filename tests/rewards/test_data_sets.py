"""Published data sets: a gold equals itself, in five ways of writing, and no other. Skipped without the files."""

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
    checked = golds(name)
    for aliases in checked:
        for alias in aliases:
            assert exact_match(alias, aliases) == 1.0, alias
            assert token_f1(alias, aliases) == 1.0, alias
            assert exact_match(changed(alias), alias) == 0.0, alias
            assert token_f1(changed(alias), alias) < 1.0, alias
            for written in (f"\\boxed{{{alias}}}", f" {alias}.", f"**{alias}**", alias.upper(), f'"{alias}"'):
                assert exact_match(written, alias) == 1.0, written
    print(f"{name}: {len(checked)} golds, {sum(map(len, checked))} with aliases")


def ways(gold):
    """Five ways to write a gold that mean the same."""
    value = number(gold)
    if value is not None and not re.search("[a-z$]", gold):
        whole = value.denominator == 1
        other = f"{value.numerator:,}" if whole and abs(value) >= 1000 else f"{value.numerator}.0" if whole else gold
        money = f"-\\${gold[1:]}" if gold.startswith("-") else f"\\${gold}"
    elif gold.startswith("\\$"):
        other, money = f"\\text{{{gold}}}", f"{gold} \\text{{ dollars}}"
    else:
        other, money = f"\\displaystyle {gold}", f"\\[ {gold} \\]"
    return [f"So it is \\boxed{{{gold}}}.", f"${gold}$", f"The answer is {gold}.", other, money]


def wrong(gold):
    """A value beside the gold, and one more than it."""
    value = number(gold.replace("\\$", "").replace(",\\!", ""))
    return [str(value + 1)] if value is not None else [f"{gold} + 1", "qxzy"]


@pytest.mark.parametrize("name", ["gsm8k", "math500"])
def test_golds_of_mathematics_equal_themselves_in_five_ways_and_no_other(name):
    checked = golds(name)
    for gold in checked:
        assert equivalent(gold, gold) == exact_match(gold, gold) == 1.0, gold
        for written in ways(gold):
            assert equivalent(written, gold) == 1.0, (written, gold)
        for written in wrong(gold):
            assert equivalent(written, gold) == 0.0, (written, gold)
    print(f"{name}: {len(checked)} golds")
