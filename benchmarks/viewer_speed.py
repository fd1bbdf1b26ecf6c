"""How long a tree of 64 paths and 50,000 tokens takes to open in Chromium: from its server, and as one file.

python benchmarks/viewer_speed.py --repeats 3

"main thread" is the CPU time of the page's own thread, which does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from aepo.training.token_updates import TokenUpdates
from aepo.types import BranchDecision, Kind, Leaf, Origin, StopReason, ToolCall, ToolResult, TrajectoryTree
from aepo.viewer import view

sys.path.insert(0, str(Path(__file__).parent))
from viewer_pictures import served


def big_tree(leaves: int, tokens: int, rng: random.Random) -> TrajectoryTree:
    """A tree whose every second path branched off another one, with four turns each."""
    tree = TrajectoryTree(global_samples=leaves // 2, gap=0.1)
    tree.add(None, Kind.PROMPT, range(200), 0)
    turn = tokens // (leaves * 7)
    places: list[int] = []
    for path in range(leaves):
        inside = bool(places) and path % 2 == 1
        node = rng.choice(places) if inside else 0
        parent = tree.nodes[node].path if inside else None
        for at in range(4):
            written = tree.add(node, Kind.POLICY, [rng.randrange(5000) for _ in range(turn)], path)
            written.entropies = [rng.expovariate(2) for _ in written.tokens]
            written.logprobs = [-e for e in written.entropies]
            node = written.id
            if at == 3:
                break
            written.calls = (ToolCall("search", {"query": "something to be looked up"}),)
            seen = tree.add(node, Kind.OBSERVATION, [rng.randrange(5000) for _ in range(turn)], path)
            seen.results = (ToolResult("found"),)
            p = rng.betavariate(4, 4)
            seen.decision = BranchDecision(p, p - 0.5, at, p, int(p > 0.6), None if p > 0.6 else "threshold")
            node = seen.id
            places.append(node)
        reward = rng.choice([0.0, 0.0, 1.0, -1.0])
        origin = Origin.BRANCH if inside else Origin.GLOBAL
        tree.leaves.append(Leaf(path, node, origin, StopReason.ANSWER, "an answer", None, parent, 0, 0.5, reward))
    return tree


def write_run(folder: Path, tree: TrajectoryTree, rng: random.Random) -> None:
    """A run folder with one question."""
    ratios = [[rng.lognormvariate(0, 0.1) for _ in n.tokens] if n.kind is Kind.POLICY else [] for n in tree.nodes]
    walks = [[n for n in tree.walk(leaf.node) if n.kind is Kind.POLICY] for leaf in tree.leaves]
    advantages = [[rng.gauss(0, 1) for n in walk for _ in n.tokens] for walk in walks]
    line = {
        "step": 1,
        "sample": {"question": "Which of them is it?", "target": "this", "id": "big"},
        "tree": json.loads(tree.to_json()),
        "token_texts": [[f" w{token}" for token in node.tokens] for node in tree.nodes],
        "update": TokenUpdates(0.2, 0.28, advantages, ratios).to_dict(),
    }
    (folder / "trees").mkdir(parents=True)
    with gzip.open(folder / "trees" / "step-000001.jsonl.gz", "wt") as file:
        file.write(json.dumps(line) + "\n")


def opened(browser: Browser, address: str) -> tuple[float, float]:
    """Seconds until the tree stands and the next frame is painted, and CPU seconds of the page's main thread."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("#page[data-shown] .card", state="attached")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    wall = time.perf_counter() - began
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    assert page.locator("rect.band").count() == 3 * 64
    page.close()
    return wall, metrics["TaskDuration"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leaves", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    wanted = parser.parse_args()
    rng = random.Random(0)
    tree = big_tree(wanted.leaves, wanted.tokens, rng)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        run = Path(temporary) / "big"
        write_run(run, tree, rng)
        file = view(run)
        print(
            f"{len(tree.leaves)} paths, {tree.distinct_tokens():,} tokens; as a file {file.stat().st_size / 1e6:.1f} MB"
        )
        browser = playwright.chromium.launch(executable_path=wanted.chromium, args=["--no-sandbox"])
        with served(run) as address:
            print(f"{'':<8}{'seconds':>10}{'main thread, CPU s':>22}")
            for name, at in (("server", f"{address}#/1/0.0"), ("file", f"{file.as_uri()}#/1/0.0")):
                found = sorted(opened(browser, at) for _ in range(wanted.repeats))
                wall, cpu = found[len(found) // 2]
                print(f"{name:<8}{wall:>10.2f}{cpu:>22.2f}")
        browser.close()


if __name__ == "__main__":
    main()
