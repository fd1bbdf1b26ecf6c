"""What a question came to is kept sample by sample, and reads back equal."""

from __future__ import annotations

import json
import math

import pytest

from aepo.evaluation.outcomes import Attempt, Outcome, from_lines, to_lines
from aepo.evaluation.runner import Evaluation
from tests.evaluation.test_runner import STAGED


def test_every_sample_of_every_question_is_kept_in_order() -> None:
    found = STAGED.outcomes()
    assert [outcome.id for outcome in found] == ["all", "half", "one", "none"]
    assert [attempt.reward for attempt in found[1].sampled] == [1.0, 0.99, 0.0, 1.0]
    assert [outcome.greedy and outcome.greedy.reward for outcome in found] == [1.0, 0.5, 1.0, 0.0]
    assert [outcome.greedy for outcome in Evaluation(STAGED.sampled, []).outcomes()] == [None] * 4


def test_their_pass_at_k_is_that_of_the_evaluation() -> None:
    for k in (1, 2, 4):
        assert sum(outcome.passes(k) for outcome in STAGED.outcomes()) / 4 == pytest.approx(STAGED.passes(k).mean)
    assert math.isnan(STAGED.outcomes()[0].passes(5))


def test_what_is_written_reads_back_equal() -> None:
    strange = Outcome("ö\u2028", (Attempt(-1.0, None), Attempt(0.1 + 0.2, "line\nand \u2028 another")), None)
    found = [*STAGED.outcomes(), strange]
    assert from_lines(to_lines(found)) == found
    assert from_lines("") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: "),
        ('{"id": "q"}', "line 2: no outcome of format 1"),
        ("[]", "line 2: no outcome of format 1"),
        (json.dumps({"format": 2}), "line 2: no outcome of format 1"),
    ],
)
def test_a_broken_line_is_named(line: str, message: str) -> None:
    with pytest.raises(ValueError, match="line 2") as error:
        from_lines(to_lines(STAGED.outcomes()[:1]) + line + "\n")
    assert message in str(error.value)
