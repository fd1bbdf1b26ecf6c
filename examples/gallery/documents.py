"""Search documents of your own, and answer in words. `aepo train task.name=documents:task model.path=MODEL`."""

import aepo

DOCUMENTS = [
    aepo.Document("The heron", "The heron stands in shallow water and eats fish."),
    aepo.Document("The swift", "The swift sleeps while it flies, and eats insects."),
    aepo.Document("The crossbill", "The crossbill opens cones of spruce, and eats their seeds."),
]
QUESTIONS = {
    "What does the heron eat?": "fish",
    "What does the swift eat?": "insects",
    "What does the crossbill eat?": "seeds of spruce",
}


def task() -> aepo.Task:
    """Questions about birds; an answer that has some of the right words gets some of the reward."""
    samples = [aepo.Sample(question, answer) for question, answer in QUESTIONS.items()]
    search = aepo.search(DOCUMENTS, top_k=2)
    return aepo.Task("documents", samples[1:], [search], aepo.rewards.f1, held_out=samples[:1])
