"""Change a database by SQL: the reward looks at its end. `aepo train task.name=database:task model.path=MODEL`."""

import aepo
from aepo.environments.sql import SqlSession

SCRIPT = "CREATE TABLE stock (thing TEXT, pieces INT); INSERT INTO stock VALUES ('cup', 4), ('plate', 9), ('fork', 2);"


def task() -> aepo.Task:
    """Correct one number in a table, and leave the others alone."""
    samples = [
        aepo.Sample(
            f"Two more pieces of {thing} came in. Correct the table stock.",
            metadata={
                "check": f"SELECT (SELECT pieces FROM stock WHERE thing = '{thing}') = {pieces + 2} "
                "AND (SELECT sum(pieces) FROM stock) = 17"
            },
        )
        for thing, pieces in (("cup", 4), ("plate", 9), ("fork", 2))
    ]
    world = aepo.environment(lambda: SqlSession(SCRIPT), sandboxed=True)
    return aepo.Task("database", samples[1:], environment=world, held_out=samples[:1])
