"""A task and a tool of one's own, which every engine runs as it is."""

import aepo

CAPITALS = {
    "Chile": "Santiago",
    "Peru": "Lima",
    "Kenya": "Nairobi",
    "Norway": "Oslo",
    "Japan": "Tokyo",
    "Cuba": "Havana",
}


@aepo.tool(timeout=10)
def search(query: str) -> str:
    """Look a capital up.

    Args:
        query: Words with the name of a country.
    """
    found = [f"capital of {country}: {city}" for country, city in CAPITALS.items() if country in query]
    return "\n".join(found) or "nothing found"


def capitals() -> aepo.Task:
    samples = [aepo.Sample(f"What is the capital of {country}?", target=city) for country, city in CAPITALS.items()]
    return aepo.Task(
        "capitals", samples, tools=[search], reward=aepo.rewards.with_format(aepo.rewards.exact), system=""
    )
