"""WebWalkerQA: questions about web sites that are answered by walking through their pages (arXiv 2501.07572).

    {"question": "When does the library of the institute close on Fridays?", "answer": "At 18:00.",
     "root_url": "https://institute.example/",
     "info": {"hop": "multi_source", "domain": "conference", "lang": "en", "difficulty_level": "medium",
              "source_website": [...], "golden_path": [...]}}

Hub: `callanwu/WebWalkerQA`, split `main` (680 rows, English and Chinese; the paper asks 200 of them); open. The split
`silver` is for training. Licence: Apache-2.0.
Score: a judge, as the publisher's. As in the paper the question is asked alone; the publisher's own agent is also given
the root page, which is in the sample's metadata.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub

DATA_SET = DataSet(
    name="webwalkerqa",
    title="WebWalkerQA",
    hub=Hub("callanwu/WebWalkerQA", "main"),
    licence="Apache-2.0",
    rows=680,
    method="judge",
    kept=("root_url", "info"),
    tools=("search", "browse", "python"),
)
