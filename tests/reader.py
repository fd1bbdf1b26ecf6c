"""The folder and the names of someone who reads the documentation: what its blocks take for granted."""

from __future__ import annotations

import json
from pathlib import Path

from aepo.config import located

ROOT = Path(__file__).parents[1]
# In commands, for what the reader puts there; and hub models, for the one that is here.
INSTEAD = {"MODEL": "atlas", "QUESTION": "What is the capital of Canada?", "Qwen/Qwen3-0.6B": "atlas"}
INSTEAD |= {"PAGE": "page", "CONFIG": "quickstart", "folder": "data"}
# Lengths of training and limits that stand in a block of Python.
SHORTER = {"max_steps=100": "max_steps=4", "calls=40": "calls=40, trajectories=2"}
_ROWS = {
    "gsm8k": [{"question": "What is 6 times 7?", "answer": "6 * 7 = 42 #### 42"}],
    "math500": [{"problem": "What is 1 + 1?", "solution": r"It is \boxed{2}.", "answer": "2"}],
    "aime24": [{"problem": "What is 1 + 2?", "answer": "3"}],
    "hotpotqa": [{"question": "Which city is the capital of Canada?", "answer": "Ottawa"}],
    "musique": [{"question": "Which city is the capital of Canada?", "answer": "Ottawa"}],
    "webwalkerqa": [
        {"question": "Who?", "answer": "Ada", "root_url": "https://example.org", "info": {"lang": "en"}},
    ],
    "simpleqa": [{"problem": "Which city is the capital of Canada?", "answer": "Ottawa"}],
}
_DOCUMENTS = [{"title": "Canada", "text": "The capital of Canada is Ottawa."}]
_MODULES = {
    "my_tools.py": '''
import aepo


@aepo.tool(timeout=5)
def web_search(query: str) -> str:
    """Search.

    Args:
        query: Words.
    """
    return "nothing found"
''',
    "my_judge.py": """
async def ask(prompt):
    return "A"

ask.model = "mine"
""",
    "my_rewards.py": """
def score(sample, trajectory):
    return float(bool(trajectory.answer))
""",
}
_WORDS = '''
import aepo

@aepo.tool(timeout=5)
def lookup(word: str) -> str:
    """Look a word up.

    Args:
        word: It.
    """
    return "a first try"

samples = [aepo.Sample(f"What is a {word}?", "a first try") for word in ("probe", "branch", "leaf", "root")]
task = aepo.Task("words", samples, tools=[lookup], reward=aepo.rewards.exact, system="")
'''
_INDEX = """
from pathlib import Path
import pyarrow, pyarrow.parquet
from aepo.tools.search.corpus import read_documents
from aepo.tools.search.folder import build

build(read_documents("corpus.jsonl"), Path("wiki-index"))
pyarrow.parquet.write_table(pyarrow.table({"title": ["Canada"], "text": ["Its capital is Ottawa."]}), "corpus.parquet")
"""
# Keys that services are asked for when they are made, by page; nothing is sent.
ENVIRONMENT = {"docs/search.md": {"BRAVE_API_KEY": "none"}}
# What a block of Python uses without saying where it is from, by page.
NAMES = {
    "docs/trl.md": _WORDS,
    "docs/solve.md": _WORDS,
    "docs/search.md": _INDEX,
    "docs/pages.md": "import aepo; samples, corpus = [aepo.Sample('What is it?', 'it')], 'documents.jsonl'",
    "docs/cluster.md": "CAPITALS = {'Canada': 'Ottawa'}",
}


def settle(folder: Path) -> None:
    """Put what a reader has into a folder: a configuration, rows of data sets, a corpus, modules."""
    (folder / "data").mkdir()
    for name, rows in _ROWS.items():
        for path in (folder / "data" / f"{name}.jsonl", folder / f"{name}.jsonl"):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name in ("run", "my", "my_training"):
        (folder / f"{name}.yaml").write_text(located("quickstart").read_text("utf-8"), "utf-8")
    for name in ("corpus", "documents", "wikipedia"):
        text = "".join(json.dumps(row) + "\n" for row in _DOCUMENTS)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for name, text in _MODULES.items():
        (folder / name).write_text(text, encoding="utf-8")


def runs_named(text: str) -> list[str]:
    """Runs that a page speaks of and does not make, in `runs/`."""
    return [name for name in ("latest", "mine", "quickstart", "aepo", "grpo") if f"runs/{name}" in text]
