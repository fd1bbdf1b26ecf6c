"""What keeping the trees of a step costs the trainer: written by itself, and handed to another process.

The trees are made up: of each question's k trajectories half begin at the question and the others at an observation of
one of them; policy and observations write half of the tokens each. Seconds are processor time of this process, scaled
to 64 questions of 16 trajectories of 8,192 tokens; both files must be equal.

python benchmarks/tree_writing.py MODEL [--questions 64]
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoTokenizer

from aepo.algorithms import AEPO
from aepo.engines.stopping import decoder
from aepo.runs.folder import RunFolder
from aepo.runs.trees import TreeWriter, save_trees
from aepo.training.batch import flat_batch
from aepo.training.token_updates import token_updates
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, ToolCall, ToolResult, TrajectoryTree

K, TURNS, TURN, PROMPT = 16, 8, 512, 512
FLAT = 64 * 16 * 8192


def group(number: int, rng: random.Random, ids: int) -> Group:
    """A question with k trajectories of 8,192 tokens."""
    tree = TrajectoryTree(global_samples=K // 2)

    def written(length: int) -> list[int]:
        return [rng.randrange(ids) for _ in range(length)]

    tree.add(None, Kind.PROMPT, written(PROMPT), 0)
    seen: list[tuple[int, int]] = []
    for path in range(K):
        begin, at = (0, 0) if path < K // 2 else rng.choice(seen)
        for turn in range(begin, TURNS):
            node = tree.add(at, Kind.POLICY, written(TURN), path)
            node.logprobs, node.entropies = [-rng.random() for _ in node.tokens], [rng.random() for _ in node.tokens]
            at = node.id
            if turn < TURNS - 1:
                node.calls = (ToolCall("search", {"query": str(turn)}),)
                shown = tree.add(at, Kind.OBSERVATION, written(TURN), path)
                shown.results = (ToolResult("x" * 4 * TURN),)
                at = shown.id
                seen.append((turn + 1, at))
        origin = Origin.GLOBAL if path < K // 2 else Origin.BRANCH
        tree.leaves.append(Leaf(path, at, origin, StopReason.ANSWER, "a", root_entropy=1.0, reward=rng.random()))
    return Group(Sample("q", "a", str(number)), tree.in_path_order())


def timed(name: str, work: Callable[[], object], scale: float) -> None:
    """Print the time of this process and of the clock, scaled."""
    clock, process = time.perf_counter(), time.process_time()
    work()
    process, clock = time.process_time() - process, time.perf_counter() - clock
    print(f"{name:44} {scale * process:6.2f} s of the processor, {scale * clock:6.2f} s of the clock", flush=True)


def peak_of_child() -> int:
    """The most bytes that the only child of this process has held, by Linux."""
    (child,) = (pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split())
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
    return 1024 * int(lines["VmHWM"].split()[0])


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a folder with a tokenizer")
    parser.add_argument("--questions", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer, rng = AutoTokenizer.from_pretrained(options.model), random.Random(0)
    decode = decoder(tokenizer)
    groups = [group(number, rng, len(tokenizer)) for number in range(options.questions)]
    flat = sum(len(trajectory.tokens) for one in groups for trajectory in one.trajectories())
    distinct, scale = sum(one.tree.distinct_tokens() for one in groups), FLAT / flat
    print(f"{options.questions} questions, {flat:,} tokens, {distinct:,} distinct")
    algorithm = AEPO(group_size=K)
    batch = flat_batch(groups, algorithm, 0, TURNS * TURN)
    seen_BT = batch.old_logprobs_BT + 0.01 * torch.randn_like(batch.old_logprobs_BT)
    updates = token_updates(groups, batch, seen_BT, algorithm)
    timed("token updates", lambda: token_updates(groups, batch, seen_BT, algorithm), scale)
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        timed("written here", lambda: save_trees(folder, 1, groups, decode, updates), scale)
        path = folder.trees / "step-000001.jsonl.gz"
        here = path.read_bytes()
        writer = TreeWriter(folder, decode)
        # The process has started when it is measured.
        writer.save(2, groups[:1], updates[:1])
        writer.wait()
        timed("handed over", lambda: writer.save(1, groups, updates), scale)
        timed("until it is written", writer.wait, scale)
        print(f"the other process held at most {peak_of_child() / 2**20:.0f} MiB; the file has {len(here) / 2**20:.0f}")
        writer.close()
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"the other process, with its start: {child.ru_utime + child.ru_stime:.1f} s of the processor, not scaled"
        )
        assert path.read_bytes() == here, "the two files differ"


if __name__ == "__main__":
    main()
