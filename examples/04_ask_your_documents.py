"""Ask questions about a folder of your own documents: `python examples/04_ask_your_documents.py [FOLDER] [MODEL]`.

Every text file of the folder is cut into paragraphs, which a search tool finds; `aepo.solve` spends a budget of tool
calls on each question and lets the trajectories vote.

Without arguments it makes a small folder of its own and asks the small model of this package, so that it runs on a CPU
in seconds. That model has learnt one thing, to look facts up that stand in the form "<name>, population <number>,
<country>" or "capital of <country>: <city>": it stands in here for a real one. Give a model that can read, e.g.
Qwen/Qwen3-1.7B or http://localhost:8000/v1, to ask about documents of any kind.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import aepo

NOTES = {
    "places/americas.txt": (
        "Three places called Portland or Newton.\n\nPortland, population 652503, United States\n\n"
        "Newton, population 159390, Canada\n\nNewton, population 88817, United States"
    ),
    "places/elsewhere.txt": "Portland, population 12710, United Kingdom\n\nPortland, population 9375, Australia",
    "countries.txt": (
        "capital of Canada: Ottawa\n\ncapital of Australia: Canberra\n\ncapital of United Kingdom: London\n\n"
        "capital of United States: Washington\n\ncontinent of Canada: North America"
    ),
    "readme.txt": "What I wrote down on two journeys.",
}
QUESTIONS = (
    "What is the capital of the country of the Portland with 652503 people?",
    "What is the capital of the country of the Newton with 159390 people?",
)


def paragraphs(folder: Path) -> Iterator[aepo.Document]:
    """Every paragraph of every text file; its file is its title."""
    for file in sorted(folder.rglob("*.txt")):
        for text in file.read_text(encoding="utf-8").split("\n\n"):
            if text.strip():
                yield aepo.Document(file.stem, text.strip())


def write_notes(folder: Path) -> Path:
    """The documents of the example."""
    for name, text in NOTES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def main(folder: str | None = None, model: str = "atlas") -> None:
    """Index the folder, ask, and print each answer with its votes."""
    documents = write_notes(Path("notes")) if folder is None else Path(folder)
    find = aepo.search(paragraphs(documents), top_k=4)
    # The small model needs no instructions; others get those of the protocol (None).
    task = aepo.Task("documents", [aepo.Sample("?")], [find], system="" if model == "atlas" else None)
    config = aepo.load_config(None, ["rollout.max_tokens=256", "algorithm.group_size=8"])
    policy = aepo.load_policy(model)
    asked = QUESTIONS if folder is None else [input("question: ")]
    for question in asked:
        print(question)
        print(aepo.solve(policy, question, task=task, calls=16, config=config), end="\n\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
