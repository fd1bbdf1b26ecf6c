"""A run folder as training leaves it, its trees built by hand."""

import base64
import gzip
import json
import math
import random
import re
import struct
import zlib
from dataclasses import asdict

import pytest
import yaml

from aepo.evaluation.outcomes import Attempt, Outcome, to_lines
from aepo.training.token_updates import TokenUpdates
from aepo.types import (
    BranchDecision,
    Kind,
    Leaf,
    Origin,
    Sample,
    StopReason,
    ToolCall,
    ToolResult,
    ToolStatus,
    TrajectoryTree,
)

HOSTILE = (
    'A page: </script><script>document.title="owned"</script><img src=x onerror=alert(1)> {{DATA}} <!-- \u2028 "q" \\'
)

QUESTIONS = [
    ("What is the currency of the country whose capital is Windhoek?", ["Namibian dollar", "NAD"]),
    ("San José is a city in several countries. Which is the capital of the one that borders Nicaragua?", ["San José"]),
    ("How many people live in Vaduz and San Marino together?", ["9236"]),
    ("On which continent lies the Georgetown that is a national capital?", ["South America"]),
    ("Which neighbour of Chad has the largest area?", ["Algeria"]),
]


class Builder:
    """Grows a tree together with the text of each token."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.tree = TrajectoryTree()
        self.texts = []

    def add(self, parent, kind, text, path, calm=0.4):
        pieces = re.findall(r"\s*\S+\s?|\s+", text)
        node = self.tree.add(parent, kind, [self.random.randrange(1000) for _ in pieces], path)
        if kind is Kind.POLICY:
            node.entropies = [min(3.5, self.random.expovariate(1 / calm)) for _ in pieces]
            node.logprobs = [-e for e in node.entropies]
        self.texts.append(pieces)
        return node

    def call(self, parent, think, name, argument, result, path, decision=None, status=ToolStatus.OK, calm=0.4):
        policy = self.add(parent, Kind.POLICY, f"<think> {think} </think>\n<{name}> {argument} </{name}>", path, calm)
        policy.calls = (ToolCall(name, {"query": argument}),)
        seen = self.add(policy.id, Kind.OBSERVATION, f"\n<result> {result} </result>\n", path)
        seen.results, seen.decision = (ToolResult(result, status, 0.012),), decision
        return seen

    def leaf(self, parent, think, answer, path, origin, reward, calm=0.3, parent_path=None, error=None):
        text = f"<think> {think} </think>" + (f"\n<answer> {answer} </answer>" if answer is not None else "")
        node = self.add(parent, Kind.POLICY, text, path, calm)
        reason = StopReason.FORMAT if error else StopReason.LENGTH if answer is None else StopReason.ANSWER
        depth = 0 if parent_path is None else sum(n.kind is Kind.OBSERVATION for n in self.tree.walk(parent))
        self.tree.leaves.append(Leaf(path, node.id, origin, reason, answer, error, parent_path, depth, 0.52, reward))


def example_tree(seed, target, hostile=False):
    """Eight trajectories: a probe, two more from the question, four branches, one left-over start."""
    b = Builder(seed)
    prompt = b.add(None, Kind.PROMPT, "Answer the question. You may search and run Python.", 0)
    look = "Paris, France, 2138551 people. Paris, Texas, 24839 people. Paris, Ontario, 12310 people."
    stop = BranchDecision(0.31, -0.21, 1, 0.434, 0, "threshold")
    go = BranchDecision(1.42, 0.9, 0, 0.68, 2, None)
    late = BranchDecision(1.1, 0.58, 1, 0.6035, 1, None)

    one = b.call(prompt.id, "Several places have this name. I search first.", "search", "Paris", look, 0, go)
    two = b.call(
        one.id, "The result lists three. The first one fits best.", "search", "France", "France: Euro.", 0, stop
    )
    b.leaf(two.id, "That settles it.", target, 0, Origin.PROBE, 1.0)

    other = b.call(prompt.id, "I add the numbers with Python.", "python", "print(2138551 + 24839)", "2163390", 1, late)
    b.leaf(other.id, "The sum is there.", "2163390", 1, Origin.GLOBAL, 0.0)
    again = b.call(prompt.id, "I try a query.", "search", "the", "timed out", 2, None, ToolStatus.TIMEOUT, 0.9)
    b.leaf(
        again.id,
        "Nothing came back, I wrote a result myself.",
        None,
        2,
        Origin.GLOBAL,
        -1.0,
        1.2,
        None,
        "<result> written by the policy",
    )

    result = HOSTILE if hostile else "Texas, United States: US dollar."
    three = b.call(one.id, "Perhaps the second one is meant.", "search", "Texas", result, 3, late, calm=0.9)
    b.leaf(three.id, "Then it is the dollar.", "US dollar", 3, Origin.BRANCH, 0.5, 0.5, 0)
    b.leaf(one.id, "I answer at once.", target, 4, Origin.BRANCH, 1.0, 0.8, 0)
    b.leaf(three.id, "The name could still be another one, I keep to the first.", target, 5, Origin.BRANCH, 1.1, 0.9, 3)
    b.leaf(other.id, "Not what was asked; I search no more " * 8, None, 6, Origin.BRANCH, 0.0, 1.0, 1)
    b.leaf(prompt.id, "I know this one.", "Canadian dollar", 7, Origin.LEFTOVER, 0.0, 0.5)
    return b.tree, b.texts


def line(step, sample, tree, texts):
    return {
        "step": step,
        "sample": asdict(sample),
        "tree": json.loads(tree.to_json()),
        "token_texts": texts,
        "update": update(tree).to_dict(),
    }


def update(tree):
    """As if each token's ratio were 1 but for the first of each node, which left the clip range."""
    ratios = [[1.5] + [1.0] * (len(n.tokens) - 1) if n.kind is Kind.POLICY else [] for n in tree.nodes]
    walks = [[t for n in tree.walk(leaf.node) if n.trained for t in n.tokens] for leaf in tree.leaves]
    advantages = [[leaf.reward - 0.3] * len(walk) for leaf, walk in zip(tree.leaves, walks, strict=True)]
    return TokenUpdates(0.2, 0.28, advantages, ratios)


def three_calls():
    """A question with one path, whose first turn makes three calls; the second fails, the third repeats the first."""
    b = Builder(3)
    prompt = b.add(None, Kind.PROMPT, "Answer the question. You may search and run Python.", 0)
    written = b.add(prompt.id, Kind.POLICY, "I look it up, and I divide. <tool_call> ... </tool_call>", 0)
    look = ToolCall("search", {"query": "Paris"})
    written.calls = (look, ToolCall("python", {"code": "1 / 0"}), look)
    texts = ["Paris, France", "ZeroDivisionError: division by zero", "Paris, France"]
    shown = "\n".join(f"<tool_response> {text} </tool_response>" for text in texts)
    seen = b.add(written.id, Kind.OBSERVATION, shown, 0)
    seen.decision = BranchDecision(0.31, -0.21, 0, 0.434, 0, "threshold")
    seen.results = (
        ToolResult(texts[0], ToolStatus.OK, 0.012),
        ToolResult(texts[1], ToolStatus.ERROR, 1.5),
        ToolResult(texts[2], repeated=True),
    )
    b.leaf(seen.id, "The first one it is.", "France", 0, Origin.PROBE, 1.0)
    return line(10, Sample("Where is Paris?", "France", "q"), b.tree, b.texts)


def told_line():
    """A question with one path, whose first turn broke the protocol; the result of its call was cut."""
    b = Builder(4)
    prompt = b.add(None, Kind.PROMPT, "Answer the question. You may search and run Python.", 0)
    broken = b.add(prompt.id, Kind.POLICY, "<search> Paris", 0)
    broken.error = "<search> is not closed"
    told = b.add(broken.id, Kind.OBSERVATION, "<result>format error: ‹search> is not closed</result>", 0)
    note = "France and [cut: 900 more characters]"
    seen = b.call(
        told.id, "Once more.", "search", "Paris", note, 0, BranchDecision(0.31, -0.21, 0, 0.434, 0, "penalty")
    )
    seen.results = (ToolResult(note, ToolStatus.OK, 0.012, cut=True),)
    b.leaf(seen.id, "It is in France.", "France", 0, Origin.PROBE, 1.0)
    return line(10, Sample("Where is Paris?", "France", "q"), b.tree, b.texts)


def picture(red, width=96, height=64):
    """A plain picture, as a data URL."""
    rows = b"".join(b"\0" + bytes((red, 120, 180)) * width for _ in range(height))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


WHY = """find {"words": "lamp"} gave '2 lamps', before '3 lamps'"""


def world_line():
    """A question asked in a shop: one path buys, one branch of it does too, one was refused, one world was lost."""
    b = Builder(5)
    go, refused = BranchDecision(1.42, 0.9, 0, 0.68, 1, None), BranchDecision(1.3, 0.8, 0, 0.66, 0, "environment")
    prompt = b.add(None, Kind.PROMPT, "Buy the cheapest lamp. There are 3 articles.", 0)
    look = b.call(prompt.id, "I look at all lamps.", "find", "lamp", "1 desk lamp 12, 2 floor lamp 30", 0, go)
    look.state = {"page": "results", "cart": [], "picture": picture(40)}
    paid = b.call(look.id, "The first is cheaper.", "buy", "1", "paid", 0, status=ToolStatus.DONE)
    wrong = b.call(look.id, "The floor lamp is nicer.", "buy", "2", "paid", 1, status=ToolStatus.DONE)
    other = b.call(prompt.id, "I search for light.", "find", "light", "nothing found", 2, refused)
    other.state = {"page": "results", "cart": [], "picture": picture(90)}
    other.refused = (WHY,)
    gone = b.call(
        other.id, "Then lamps.", "find", "lamp", "the world was lost: the page crashed", 2, status=ToolStatus.LOST
    )
    again = b.call(prompt.id, "I look for a lamp.", "find", "lamp", "1 desk lamp 12, 2 floor lamp 30", 3)
    again.state = {"page": "results", "cart": [], "picture": picture(40)}
    bought = {"page": "receipt", "cart": ["desk lamp"], "picture": picture(200)}
    b.tree.leaves = [
        Leaf(0, paid.id, Origin.PROBE, StopReason.DONE, reward=1.0, outcome=1.0, state=bought),
        Leaf(1, wrong.id, Origin.BRANCH, StopReason.DONE, None, None, 0, 1, 0.5, 0.2, 0.0, {"cart": []}),
        Leaf(2, gone.id, Origin.GLOBAL, StopReason.LOST, reward=0.0, outcome=0.0),
        Leaf(3, again.id, Origin.LEFTOVER, StopReason.LENGTH, reward=0.0, outcome=0.0, state=again.state),
    ]
    for last in (paid, wrong, gone):
        # The policy does not read what ends a trajectory.
        last.tokens, b.texts[last.id] = [], []
    sample = Sample("Buy the cheapest lamp.", id="lamp", metadata={"environment": "shop"})
    return line(10, sample, b.tree, b.texts)


RIGHT, WRONG, NONE = Attempt(1.0, "Oslo", "answer"), Attempt(0.0, "Rome", "answer"), Attempt(0.0, None, "length")


def outcome(name, *sampled, kind="capital"):
    return Outcome(name, sampled, sampled[0], f"Question {name}?", ("Oslo",), {"kind": kind, "id": name, "hops": 1})


def with_outcomes(run):
    """The run with evaluations after steps 0, 10 and 60: one question was learned, none forgotten."""
    (run / "outcomes").mkdir()
    before = [outcome("a", WRONG, WRONG), outcome("b", RIGHT, RIGHT, kind="river"), outcome("c", NONE, WRONG)]
    after = [outcome("a", RIGHT, RIGHT), outcome("b", WRONG, RIGHT, kind="river"), outcome("c", WRONG, WRONG)]
    for step, found in ((0, before), (10, before), (60, after)):
        (run / "outcomes" / f"step-{step:06d}.jsonl").write_text(to_lines(found))
    return run


CONFIG = {
    "run": "runs/example",
    "seed": 0,
    "task": {"name": "atlas"},
    "algorithm": {"name": "aepo", "group_size": 8, "branch_rule": "threshold", "tau": 0.6, "clip_high": 0.28},
}


@pytest.fixture
def example_lines():
    """One step's lines; the last question's tool result tries to break out of the page."""
    lines = []
    for i, (question, targets) in enumerate(QUESTIONS):
        tree, texts = example_tree(i, targets[0], hostile=i == len(QUESTIONS) - 1)
        lines.append(line(10, Sample(question, targets, f"test-{i}"), tree, texts))
    return lines


@pytest.fixture
def example_run(tmp_path, example_lines):
    """`runs/example` with the trees of steps 10 and 20 and sixty steps of metrics."""
    folder = tmp_path / "runs" / "example"
    (folder / "trees").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    for step in (10, 20):
        write_trees(folder / "trees" / f"step-{step:06d}.jsonl.gz", [{**x, "step": step} for x in example_lines])
    rng = random.Random(0)
    rows = []
    for step in range(1, 61):
        row = {"step": step, "reward/mean": 0.3 + 0.4 * (1 - math.exp(-step / 20)) + rng.gauss(0, 0.03)}
        row |= {
            "entropy/root": 0.5 + rng.gauss(0, 0.02),
            "entropy/after_tool": 0.9 * math.exp(-step / 80) + rng.gauss(0, 0.03),
        }
        row |= {"branch/share": 0.4 + rng.gauss(0, 0.05), "time/rollout": 3.0, "lr": math.nan}
        if step % 10 == 0:
            row["eval/success"] = 0.4 + step / 200
        rows.append(row)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def write_trees(path, lines):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(x) + "\n" for x in lines)


@pytest.fixture
def population(example_run):
    """Three instructions of the example run over sixty steps: the first, one that left, and one that came from it."""
    rows = []
    for step in range(1, 61):
        worth = [0.01 * step / 60, -0.05, 0.05] if step > 1 else None
        first = {"id": 0, "parent": None, "born": 0, "text": "", "weight": 0.0, "groups": step, "worth": worth}
        one = {**first, "id": 1, "text": HOSTILE, "weight": -0.1}
        new = {**first, "id": 2, "parent": 1, "born": 25, "text": "Search twice.", "weight": 0.2, "groups": step - 25}
        members = [first, one] if step <= 25 else [first, new]
        rows.append({"step": step, "best": 2 if step > 40 else 0, "members": members})
    file = example_run / "instructions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return example_run
