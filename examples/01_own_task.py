"""A task and a tool of your own, trained and looked at: `python examples/01_own_task.py`, on a CPU in a minute.

It starts from the small model of this package, which has only ever seen questions about places: give another model as
the first argument, and more steps, to learn something.
"""

import sys

import aepo

DICTIONARY = {"aepo": "a way to train agents", "probe": "a first try", "branch": "a second path", "leaf": "an end"}


@aepo.tool(timeout=10)
def search(word: str) -> str:
    """Look a word up in the dictionary.

    Args:
        word: The word to look up.
    """
    return DICTIONARY.get(word.lower(), "not found")


def main(model: str = "atlas", steps: int = 2) -> None:
    """Train, evaluate, and write a page of the rollout trees."""
    samples = [aepo.Sample(f"What is {word}?", target=meaning) for word, meaning in DICTIONARY.items()]
    task = aepo.Task("words", samples, tools=[search], reward=aepo.rewards.exact, system="")
    settings = ["rollout.questions=4", "rollout.max_tokens=96", f"train.steps={steps}", "train.learning_rate=1e-4"]
    config = aepo.load_config(None, settings)
    run = aepo.train(model, task, algorithm=aepo.AEPO(group_size=4), config=config, run="runs/words")
    print(aepo.evaluate(run.policy, task, samples=5, config=config))  # Pass@1, Pass@5, intervals, tool calls
    print(aepo.view(run))


if __name__ == "__main__":
    main(*sys.argv[1:2])
