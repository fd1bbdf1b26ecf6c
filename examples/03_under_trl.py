"""A task and a tool of your own under Hugging Face's trainer: `python examples/03_under_trl.py`, on a CPU in a minute.

`AEPOTrainer` is TRL's `GRPOTrainer` with our rollout, advantage and loss; arguments, callbacks, logs and checkpoints
are TRL's (`pip install "aepo-rl[trl]"`, docs/trl.md).
"""

import sys

from trl import GRPOConfig

import aepo
from aepo.engines.trl import AEPOTrainer

DICTIONARY = {"aepo": "a way to train agents", "probe": "a first try", "branch": "a second path", "leaf": "an end"}


@aepo.tool(timeout=10)
def search(word: str) -> str:
    """Look a word up in the dictionary.

    Args:
        word: The word to look up.
    """
    return DICTIONARY.get(word.lower(), "not found")


def main(model: str = "atlas", steps: int = 2, folder: str = "runs/words-trl") -> None:
    """Train, and evaluate before and after."""
    samples = [aepo.Sample(f"What is {word}?", target=meaning) for word, meaning in DICTIONARY.items()]
    task = aepo.Task("words", samples, tools=[search], reward=aepo.rewards.exact, held_out=samples[:2], system="")
    args = GRPOConfig(
        folder, bf16=False, num_generations=4, per_device_train_batch_size=4, gradient_accumulation_steps=4,
        max_completion_length=96, max_steps=steps, learning_rate=1e-4, logging_steps=1, report_to="none",
    )  # fmt: skip
    trainer = AEPOTrainer(model, args, task=task, algorithm=aepo.AEPO(group_size=4))
    print(trainer.evaluate())  # eval_success, eval_pass@4, eval_greedy, tool calls
    trainer.train()
    print(trainer.evaluate())
    trainer.save_model(folder)  # for aepo.load_policy, transformers, vLLM


if __name__ == "__main__":
    main(*sys.argv[1:2])
