"""Ask a table: the model must find a row, then a second one. `aepo train task.name=table:task model.path=MODEL`."""

import csv
import io

import aepo

ROWS = list(
    csv.DictReader(
        io.StringIO("""person,manager,city
Ada,Grace,Paris
Alan,Grace,Rome
Grace,Edith,Oslo
Edith,,Lima
Emmy,Edith,Kiel
""")
    )
)


@aepo.tool
def find(column: str, value: str) -> str:
    """Show the rows that have a value.

    Args:
        column: person, manager or city.
        value: What stands there.
    """
    if column not in ROWS[0]:
        raise aepo.ToolError(f"no such column; there are {', '.join(ROWS[0])}")
    return "\n".join(str(row) for row in ROWS if row[column] == value) or "no row"


def task() -> aepo.Task:
    """In which city is a person's manager?"""
    city = {row["person"]: row["city"] for row in ROWS}
    samples = [
        aepo.Sample(f"In which city does the manager of {row['person']} work?", city[row["manager"]])
        for row in ROWS
        if row["manager"]
    ]
    return aepo.Task("table", samples[1:], [find], aepo.rewards.exact, held_out=samples[:1])
