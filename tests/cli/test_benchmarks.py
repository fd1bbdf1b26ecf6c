"""`aepo eval DATA_SETS --model MODEL` with a policy that answers as told: every number was counted by hand."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aepo.assembly import policies
from aepo.cli import main
from aepo.equipment import agents as assembled
from aepo.evaluation.answers import Answered
from aepo.rewards.judge import Judgement
from aepo.tasks.datasets import NAMES
from aepo.tools.sandbox.base import SandboxUnavailable
from aepo.tools.sandbox.choose import choose
from aepo.types import Sample
from aepo.viewer import read_trees, tree_files, view
from tests.engines.openai.server import ModelServer, failing, serving
from tests.evaluation import scripted

JUDGES = """
async def kind(prompt):
    return "They agree.\\nA"

async def strange(prompt):
    answer = prompt.split("<answer>\\n")[1].split("\\n</answer>")[0]
    return {"Ada": "A", "Bob": "B"}.get(answer, "I would rather not say.")

strange.model = "stub-1"

async def broken(prompt):
    raise OSError("no route")

def not_async(prompt):
    return "A"
"""
GSM8K = [
    {"question": "Three sixes?", "answer": "3*6=<<3*6=18>>18\n#### 18"},
    {"question": "A thousand and eighteen?", "answer": "#### 1,018"},
    {"question": "Five?", "answer": "#### 5"},
]
HOTPOT = [
    {"id": "h1", "question": "Both rivers?", "answer": ["yes"]},
    {"id": "h2", "question": "Who?", "answer": ["Frank Lowy", "Sir Frank P. Lowy"]},
]
SIMPLE = [{"problem": "Who was first?", "answer": "Ada"}, {"problem": "Who came next?", "answer": "Bob"}]
SCRIPT = {
    "Three sixes?": ["18", "?17"],
    "A thousand and eighteen?": ["1,018", "?1018.0"],
    "Five?": [None, "4"],
    "Both rivers?": ["Yes", "yes, both of them"],
    "Who?": ["frank lowy", "Frank"],
    "Who was first?": ["Ada", "Zoe"],
    "Who came next?": ["Ada", "Bob"],
}
REAL = ((policies, "load_policy", policies.load_policy), (assembled, "agents", assembled.agents))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with data and judges, and a policy that follows the script."""
    for name, rows in {"gsm8k": GSM8K, "HotpotQA": HOTPOT, "simpleqa": SIMPLE}.items():
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "corpus.jsonl").write_text('{"title": "t", "text": "some text"}')
    (tmp_path / "stub_judges.py").write_text(JUDGES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(policies, "load_policy", lambda *_: SimpleNamespace(decode=str))

    def agents(policy: object, task: Any, settings: Any, questions: Sequence[Sample]) -> tuple[object, None]:
        return scripted.agent(SCRIPT, questions, settings.seed), None

    monkeypatch.setattr(assembled, "agents", agents)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["eval", *arguments])
        return code, *capfd.readouterr()

    return command


def bad(result: tuple[int, str, str]) -> str:
    code, _, err = result
    assert code == 2 and len(err.splitlines()) == 1 and err.startswith("aepo: "), err
    return err.removeprefix("aepo: ").strip()


def row(text: str, title: str) -> dict[str, str]:
    """A row of a table, in Markdown or as it is on a terminal."""
    between = r" *\| *" if "| data set |" in text else " {2,}"
    lines = [re.split(between, line.strip("| ")) for line in text.splitlines()]
    head, found = (next(line for line in lines if line[0] == name) for name in ("data set", title))
    return dict(zip(head, found, strict=True))


ALL = ("gsm8k,hotpotqa,simpleqa", "--model", "m", "--samples", "2", "--data", "data", "--tools", "none", "--out", "out")


def test_the_table_holds_the_numbers_counted_by_hand(run: Run) -> None:
    code, out, err = run(*ALL, "--judge", "stub_judges:strange")
    assert code == 0, err
    math, words, judged = (row(out, title) for title in ("GSM8K", "HotpotQA", "SimpleQA"))
    # 18 of 18, 17; 1,018 and 1018.0; nothing and 4: 1/2, 1, 0 -> Pass@1 1/2, Pass@2 2/3.
    assert math["questions"] == "3" and math["score"] == "math" and math["F1"] == "-"
    assert math["Pass@1"].startswith("50.0 [") and math["Pass@2"].startswith("66.7 [")
    # Two of six asked the tool; "18" and its end are 3 tokens, "?17" 1 + 3, "1,018" 6, "?1018.0" 1 + 7, 1, 2.
    assert math["tool calls"] == "0.33" and math["tokens"] == "4"
    # Exact: 1, 0; 1, 0. F1: 1, 0; 1, 2/3.
    assert words["Pass@1"].startswith("50.0") and words["Pass@2"] == "100.0 [34.2, 100.0]"
    assert words["F1"].startswith("66.7 [0.0, 100.0]")
    # Ada A, Zoe unreadable; Ada A, Bob B: 1/1 and 1/2.
    assert judged["Pass@1"].startswith("75.0") and judged["Pass@2"] == "-"
    assert "SimpleQA: 1 of 4 verdicts could not be read" in out and "between 50.0 and 75.0" in out
    assert "Judge stub-1, prompt graded-1" in out


def test_everything_is_kept_and_a_table_beside_it(run: Run) -> None:
    _, out, _ = run(*ALL, "--judge", "stub_judges:strange")
    assert row(Path("out/table.md").read_text(), "GSM8K") == row(out, "GSM8K")
    answers = [Answered.from_line(line) for line in Path("out/gsm8k/answers.jsonl").read_text().splitlines()]
    assert [[a.text for a in one.answers] for one in answers] == [["18", "17"], ["1,018", "1018.0"], [None, "4"]]
    verdicts = [Judgement.from_line(line) for line in Path("out/simpleqa/verdicts.jsonl").read_text().splitlines()]
    assert {(v.answer, v.verdict.value, v.model) for v in verdicts} == {
        ("Ada", "correct", "stub-1"),
        ("Zoe", "unreadable", "stub-1"),
        ("Bob", "incorrect", "stub-1"),
    }
    results = [json.loads(line) for line in Path("out/hotpotqa/results.jsonl").read_text().splitlines()]
    assert [(r["id"], r["correct"], r["answers"]) for r in results] == [
        ("h1", [True, False], ["Yes", "yes, both of them"]),
        ("h2", [True, False], ["frank lowy", "Frank"]),
    ]
    assert list(Path("out/gsm8k/trees").iterdir())


def test_a_table_is_judged_again_without_asking_the_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*ALL, "--judge", "stub_judges:strange")
    before = Path("out/simpleqa/answers.jsonl").read_bytes()
    monkeypatch.setattr(policies, "load_policy", None)
    code, out, err = run(*ALL, "--judge", "stub_judges:kind", "--resume")
    assert code == 0, err
    assert row(out, "SimpleQA")["Pass@1"] == "100.0 [34.2, 100.0]" and "Judge stub_judges:kind" in out
    assert Path("out/simpleqa/answers.jsonl").read_bytes() == before
    code, out, _ = run(*ALL, "--judge", "stub_judges:strange", "--resume")
    assert row(out, "SimpleQA")["Pass@1"].startswith("75.0")


def test_an_interrupted_evaluation_goes_on_where_it_was(run: Run) -> None:
    one = ("gsm8k", "--model", "m", "--samples", "2", "--data", "data/gsm8k.jsonl", "--tools", "none", "--out", "out")
    _, whole, _ = run(*one)
    file = Path("out/gsm8k/answers.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[1][:40])
    code, out, err = run(*one, "--resume")
    assert code == 0, err
    assert {k: v for k, v in row(out, "GSM8K").items() if k != "s / question"} == {
        k: v for k, v in row(whole, "GSM8K").items() if k != "s / question"
    }
    assert len(file.read_text().splitlines()) == 3
    assert "holds an evaluation" in bad(run(*one))
    assert "samples was 2 and is now 3" in bad(run(*one[:4], "3", *one[5:], "--resume"))


def test_one_data_set_a_day_in_one_folder(run: Run) -> None:
    for name in ("gsm8k", "hotpotqa"):
        code, _, err = run(name, "--model", "m", "--samples", "1", "--data", "data", "--tools", "none", "--out", "out")
        assert code == 0, err
    table = Path("out/table.md").read_text(encoding="utf-8")
    assert "GSM8K" in table and "HotpotQA" in table


def test_a_subset_is_taken_by_ids_and_never_by_a_count(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("h2\n")
    one = ("hotpotqa", "--model", "m", "--samples", "2", "--data", "data", "--tools", "none")
    code, out, err = run(*one, "--ids", "ids")
    assert code == 0, err
    assert row(out, "HotpotQA")["questions"] == "1" and row(out, "HotpotQA")["F1"] == "83.3"
    assert "no question of hotpotqa has the id 'h3'" in bad(run(*one, "--ids", "h2,h3"))
    many = ",".join(f"missing-{n}" for n in range(100))
    assert "has the id 'missing-0'" in bad(run(*one, "--ids", many))
    assert "choose questions by --ids" in bad(run(*one, "--questions", "1"))
    both = ("gsm8k,hotpotqa", *one[1:], "--ids", "h2")
    assert "gsm8k: none of the ids is one of its questions" in bad(run(*both))


def test_two_models_are_compared_question_by_question(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*ALL, "--judge", "stub_judges:strange")
    worse = {**SCRIPT, "Three sixes?": ["17", "17"], "Who?": ["Frank", "Frank"]}
    monkeypatch.setattr(assembled, "agents", lambda p, t, s, q: (scripted.agent(worse, q, s.seed), None))
    run("gsm8k,hotpotqa", "--model", "n", *ALL[3:-1], "other")
    code, out, err = run("--compare", "out", "other")
    assert code == 0, err
    # 1/2, 1, 0 against 0, 1, 0; exact 1/2, 1/2 against 1/2, 0; F1 1/2, 5/6 against 1/2, 2/3.
    math, words = row(out, "GSM8K"), row(out, "HotpotQA")
    assert math["m"].startswith("50.0") and math["n"].startswith("33.3")
    assert math["difference of Pass@1"].startswith("+16.7 [") and math["difference of F1"] == "-"
    assert words["difference of Pass@1"].startswith("+25.0 [") and words["difference of F1"].startswith("+8.3 [")
    assert "SimpleQA" not in out
    assert "it has no settings.json" in bad(run("--compare", "out", "nowhere"))


def test_what_is_not_as_in_training_is_printed(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    lines = ["task: {name: 'tests.tiny:letters'}", "rollout: {max_tokens: 40, max_tool_calls: 3}"]
    (folder / "config.yaml").write_text("\n".join(lines))
    one = ("gsm8k", "--model", str(folder), "--samples", "2", "--data", "data", "--tools", "none")
    code, out, err = run(*one)
    assert code == 0, err
    assert "max_tokens 40, max_tool_calls 3" in out and "unlike training: max" not in out
    assert "unlike training: gsm8k has the tools none, training had search" in out
    assert (folder / "benchmarks" / "table.md").is_file()
    code, out, err = run(*one[:-2], "--tools", "tests.tiny:search", "--out", "out", "rollout.max_tokens=90")
    assert code == 0, err
    assert "unlike training: max_tokens is 90, was 40" in out and "has the tools" not in out
    assert "unlike training: max_tokens is 90, was 40" in Path("out/table.md").read_text()


def test_what_a_model_answers_that_is_no_run_is_kept_among_the_runs_under_its_name(run: Run) -> None:
    code, _, err = run("gsm8k", "--model", "m", "--samples", "2", "--data", "data", "--tools", "none")
    assert code == 0, err
    assert Path("runs/benchmarks/m/table.md").is_file()


def test_another_score_than_usual_is_printed(run: Run) -> None:
    code, out, err = run("simpleqa", *ALL[1:], "--score", "words")
    assert code == 0, err
    assert "simpleqa: usually scored by judge; not comparable with published figures" in out
    assert row(out, "SimpleQA")["Pass@1"].startswith("50.0") and row(out, "SimpleQA")["score"] == "words"


def test_pages_of_the_web_are_among_the_tools_where_they_are_asked_for(run: Run) -> None:
    try:
        choose(packages="host")
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    Path("data/webwalkerqa.jsonl").write_text(json.dumps({"question": "Who?", "answer": "frank lowy"}))
    code, out, err = run("webwalkerqa", *ALL[1:7], "--tools", "browse", "--score", "words", "--out", "out")
    assert code == 0, err
    assert "scored by words, tools: browse" in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["gsm8k"], "gsm8k: a data set; say what answers it with --model"),
        (["gsm8k,simplequa", "--model", "m"], "unknown data set 'simplequa': did you mean 'simpleqa'?"),
        (["gsm8k,GSM8K", "--model", "m"], "each data set once"),
        (["gsm8k", "--model", "m", "--data", "nowhere.jsonl"], "data file nowhere.jsonl does not exist"),
        (["gsm8k,hle", "--model", "m", "--data", "data"], "data has no hle.jsonl or hle.parquet"),
        (["gsm8k,hle", "--model", "m", "--data", "corpus.jsonl"], "is one file for 2 data sets: give name=file"),
        (["gsm8k", "--model", "m", "--data", "hle=corpus.jsonl"], "--data names 'hle', which is not evaluated"),
        (["hotpotqa", "--model", "m", "--data", "data"], "hotpotqa is answered by searching: give a corpus"),
        (["gsm8k", "--model", "m", "--data", "data", "--tools", "none", "--samples", "0"], "--samples is 0"),
        ([*ALL], "simpleqa: scored by a judge; give one as --judge MODEL@http://host:port/v1 or package"),
        ([*ALL, "--judge", "stub_judges:nobody"], "judge 'stub_judges:nobody' cannot be imported"),
        ([*ALL, "--judge", "stub_judges"], "judge 'stub_judges' cannot be imported"),
        ([*ALL, "--judge", "stub_judges:not_async"], "is no async function from a prompt to a reply"),
        (["gsm8k", *ALL[1:], "--judge", "stub_judges:kind"], "none of these data sets is scored by a judge"),
        (["atlas", "--ids", "x"], "--ids is for data sets: aepo eval DATA_SETS --model MODEL --ids ..."),
        (["atlas", "--resume"], "--resume is for data sets"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_no_folder(run: Run, arguments: list[str], line: str) -> None:
    assert line in bad(run(*arguments))
    assert not Path("out").exists() and not Path("runs").exists()


def test_several_files_are_given_by_name(run: Run) -> None:
    files = "gsm8k=data/gsm8k.jsonl,hotpotqa=data/HotpotQA.jsonl"
    code, out, err = run(
        "gsm8k,hotpotqa",
        "--model",
        "m",
        "--samples",
        "2",
        "--data",
        files,
        "--corpus",
        "corpus.jsonl",
        "--tools",
        "search",
    )
    assert code == 0, err
    assert "hotpotqa: 2 questions, scored by words, tools: search" in out


def test_a_judge_that_fails_stops_with_one_line_and_loses_no_answer(run: Run) -> None:
    code, _, err = run("simpleqa", *ALL[1:], "--judge", "stub_judges:broken")
    assert code == 1 and len(err.splitlines()) == 1 and "judge stub_judges:broken failed on question" in err
    assert len(Path("out/simpleqa/answers.jsonl").read_text().splitlines()) == 2


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A server whose model finds "Ada" right and "Bob" wrong, and says nothing to the point of others."""
    monkeypatch.setenv("NO_PROXY", "*")
    server = ModelServer("vllm", None, None, name="grader")

    def answer(path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"data": [{"id": "grader"}]}
        prompt = body["messages"][0]["content"]
        said = prompt.split("<answer>\n")[1].split("\n</answer>")[0]
        reply = {"Ada": "A", "Bob": "B"}.get(said, "What a question!")
        return 200, {"choices": [{"message": {"content": reply}}]}

    server.answer = answer  # type: ignore[method-assign]
    with serving(server):
        yield server


@pytest.mark.parametrize("named", [False, True])
def test_a_judge_behind_a_server_gives_the_same_table_as_one_in_python(
    named: bool, run: Run, judging: ModelServer
) -> None:
    judge = f"grader@{judging.url}" if named else judging.url
    code, out, err = run("simpleqa", *ALL[1:], "--judge", judge)
    assert code == 0, err
    assert row(out, "SimpleQA")["Pass@1"].startswith("75.0") and "Judge grader, prompt graded-1" in out
    assert "1 of 4 verdicts could not be read" in out
    verdicts = [Judgement.from_line(line) for line in Path("out/simpleqa/verdicts.jsonl").read_text().splitlines()]
    assert {(v.answer, v.model, v.prompt) for v in verdicts} == {
        (answer, "grader", "graded-1") for answer in ("Ada", "Zoe", "Bob")
    }


def test_a_judge_that_goes_down_is_one_line_and_resume_goes_on(run: Run, judging: ModelServer) -> None:
    arguments = ("simpleqa", *ALL[1:], "--judge", judging.url)
    judging.faults.extend([failing(500, {"error": "no memory"})] * 4)
    code, _, err = run(*arguments)
    assert code == 1 and len(err.splitlines()) == 1
    assert "judge grader failed on question" in err and "failed (HTTP 500): no memory" in err
    answers = Path("out/simpleqa/answers.jsonl").read_bytes()
    assert len(answers.splitlines()) == 2
    judging.faults.clear()
    code, out, err = run(*arguments, "--resume")
    assert code == 0, err
    assert row(out, "SimpleQA")["Pass@1"].startswith("75.0")
    assert Path("out/simpleqa/answers.jsonl").read_bytes() == answers
    judging.asked.clear()
    code, out, err = run(*arguments, "--resume")
    # Known verdicts are not asked for again; the one that could not be read is.
    asked = [body for path, body, _ in judging.asked if path == "/v1/chat/completions"]
    assert code == 0 and len(asked) == 1


def test_a_judge_that_nobody_serves_is_told_before_anything_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from aepo.engines.openai import client

    monkeypatch.setattr(client, "ATTEMPTS", 1)
    code, _, err = run("simpleqa", *ALL[1:], "--judge", "m@http://127.0.0.1:9/v1")
    assert code == 1 and len(err.splitlines()) == 1 and "server http://127.0.0.1:9/v1 is not available" in err
    assert not Path("out").exists()


def test_where_something_costs_the_table_says_how_much_a_question(run: Run) -> None:
    # A sampled token costs 1: 3 + 4, 6 + 8 and 1 + 2 of the three questions (see above).
    code, out, err = run("gsm8k", "model.price.sampled=1000000", *ALL[1:])
    assert code == 0, err
    assert row(out, "GSM8K")["cost / question"].startswith("8 [0, ")
    assert "Cost of all 2 answers of a question at 0 for a million prompt tokens, 1e+06 for a million sampled" in out
    assert "cost / question" in Path("out/table.md").read_text()
    code, out, err = run("gsm8k", *ALL[1:-1], "free")
    assert code == 0 and "cost" not in out


def test_the_trees_of_a_data_set_open_in_the_viewer_with_their_scores(run: Run) -> None:
    run(*ALL, "--judge", "stub_judges:strange")
    for name, rewards in {
        "gsm8k": [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]],
        "simpleqa": [[1.0, None], [1.0, 0.0]],
    }.items():
        folder = Path("out") / name
        (file,) = tree_files(folder)
        records = list(read_trees(file))
        assert [[leaf.reward for leaf in record.group.tree.leaves] for record in records] == rewards
        assert view(folder).is_file()
    before = Path("out/gsm8k/trees/step-000000.jsonl.gz").read_bytes()
    run(*ALL, "--judge", "stub_judges:strange", "--resume")
    assert Path("out/gsm8k/trees/step-000000.jsonl.gz").read_bytes() == before


def test_limits_of_tools_hold_for_data_sets(run: Run) -> None:
    one = ("gsm8k", "--model", "m", "--samples", "2", "--data", "data", "--tools", "tests.tiny:search")
    code, out, err = run(one[0], "tools.limits.search.price=0.25", *one[1:])
    assert code == 0, err
    assert "0.25 for a call of search" in out
    assert "unknown key 'tools.limits.serch': did you mean 'search'?" in bad(
        run(one[0], "tools.limits.serch.price=1", *one[1:])
    )
    assert "give tools.cache a file" in bad(run(one[0], "tools.mode=cached", *one[1:]))


DATA = Path(os.environ.get("AEPO_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def test_real_files_of_seven_data_sets_are_evaluated_in_one_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no {DATA}: set AEPO_TEST_DATA")
    names = [name for name in NAMES if any(path.stem.lower() == name for path in DATA.iterdir())]

    def agents(policy: object, task: Any, settings: Any, questions: Sequence[Sample]) -> tuple[object, None]:
        # The gold answer, then a wrong one: half of all answers are right, and every question is solved once.
        script = {q.question: [q.target if isinstance(q.target, str) else q.target[0], "qxzy"] for q in questions}
        return scripted.agent(script, questions, settings.seed), None

    monkeypatch.setattr(assembled, "agents", agents)
    arguments = (",".join(names), "--model", "m", "--samples", "2", "--data", str(DATA), "--tools", "none")
    # Mathematics as words too: a thousand formulas of math-verify would take minutes.
    code, out, err = run(*arguments, "--score", "words", "--out", "out")
    assert code == 0, err
    assert len(names) == 7
    out = Path("out/table.md").read_text()
    titles = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| ")][2:]
    assert [row(out, title)["questions"] for title in titles] == ["500", "1319", "200", "200", "200", "125", "500"]
    for title in titles:
        # All questions came out alike, so that the intervals are Wilson's.
        other = 1.96**2 / (int(row(out, title)["questions"]) + 1.96**2)
        assert row(out, title)["Pass@1"] == f"50.0 [{50 - 50 * other:.1f}, {50 + 50 * other:.1f}]", title
        assert row(out, title)["Pass@2"] == f"100.0 [{100 - 100 * other:.1f}, 100.0]", title


def test_a_real_small_model_goes_the_whole_way(
    run: Run, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, real in REAL:
        monkeypatch.setattr(module, name, real)
    rows = [{"question": "ab", "answer": "i"}, {"question": "cd", "answer": "j"}]
    (tmp_path / "letters.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, out, err = run(
        "bamboogle",
        *("--model", str(model_folder), "--samples", "3", "--data", "letters.jsonl", "--out", "out"),
        *("--tools", "tests.tiny:search", "rollout.max_tokens=40", "rollout.max_tool_calls=3"),
    )
    assert code == 0, err
    found = row(out, "Bamboogle")
    assert found["questions"] == "2" and float(found["tool calls"]) > 0 and float(found["tokens"]) > 1
    (first, _) = [Answered.from_line(line) for line in Path("out/bamboogle/answers.jsonl").read_text().splitlines()]
    assert first.question == "ab" and len(first.answers) == 3
