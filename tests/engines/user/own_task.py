"""A task and a tool of one's own: every engine runs this file as it is."""

import aepo

CAPITALS = {"Chile": "Santiago", "Peru": "Lima", "Kenya": "Nairobi", "Norway": "Oslo", "Japan": "Tokyo"}


@aepo.tool(timeout=10)
def search(query: str) -> str:
    """Look a capital up.

    Args:
        query: Words with the name of a country.
    """
    return next((f"capital of {c}: {city}" for c, city in CAPITALS.items() if c in query), "nothing found")


def capitals() -> aepo.Task:
    samples = [aepo.Sample(f"What is the capital of {c}?", target=city) for c, city in CAPITALS.items()]
    return aepo.Task("capitals", samples, [search], aepo.rewards.with_format(aepo.rewards.exact), system="")
