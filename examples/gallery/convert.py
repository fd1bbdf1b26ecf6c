"""Convert lengths: one tool, a reward that compares numbers. `aepo train task.name=convert:task model.path=MODEL`."""

import aepo

METRES = {"inch": 0.0254, "foot": 0.3048, "yard": 0.9144, "mile": 1609.344, "metre": 1.0}


@aepo.tool
def metres(amount: float, unit: str) -> str:
    """Say how many metres a length is.

    Args:
        amount: The number of units.
        unit: inch, foot, yard, mile or metre.
    """
    if unit not in METRES:
        raise aepo.ToolError(f"unknown unit; there are {', '.join(METRES)}")
    return f"{amount * METRES[unit]:g}"


def task() -> aepo.Task:
    """How many metres are so many feet or miles?"""
    asked = [(amount, unit) for unit in ("inch", "foot", "yard", "mile") for amount in (3, 7, 12, 40)]
    samples = [
        aepo.Sample(f"How many metres are {amount} x 1 {unit}?", f"{amount * METRES[unit]:g}", metadata={"unit": unit})
        for amount, unit in asked
    ]
    return aepo.Task("convert", samples[1:], [metres], aepo.rewards.exact, held_out=samples[:1])
