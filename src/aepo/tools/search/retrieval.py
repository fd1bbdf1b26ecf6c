r"""Searches by Search-R1's retrieval protocol, which its own server and verl's search tool use.

    POST {"queries": ["who?"], "topk": 3, "return_scores": true}
    {"result": [[{"document": {"id": "7", "contents": "\"Title\"\ntext"}, "score": 0.8}]]}

Sources: PeterGriffinJin/Search-R1, search_r1/search; verl, verl/tools/utils/search_r1_like_utils.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aepo.tools.search.base import Hit
from aepo.tools.search.corpus import NotADocument, document
from aepo.tools.search.remote import RemoteSearch, kept, member, number, words
from aepo.tools.service import BadServiceReply, Request, ServiceLimits


@dataclass(eq=False)
class Retrieval(RemoteSearch):
    """A retrieval server of your own, e.g. http://localhost:8000/retrieve; it needs no key.

    Args:
        url: The endpoint's address.
        limits: Limits for the service.
        version: A version of the server's corpus and index. If answers are cached, change it when these change.
    """

    url: str
    limits: ServiceLimits | None = None
    version: str = "1"

    def __post_init__(self) -> None:
        self.name, self.most_hits = "retrieval", 1000
        self.reach()
        self.version = f"{self.version} {self.url}"

    def request(self, query: str, top_k: int) -> Request:
        """See `RemoteSearch`; the list of queries holds only this one."""
        return Request.post(self.url, {"queries": [query], "topk": top_k, "return_scores": True})

    def read(self, reply: Any) -> list[Hit]:
        """See `RemoteSearch`. A server without scores leaves out the objects around the documents."""
        answers = member(reply, "result")
        if not (isinstance(answers, list) and len(answers) == 1 and isinstance(answers[0], list)):
            raise BadServiceReply("not one list of documents under 'result'")
        return kept(answers[0], _document)


def _document(entry: Any) -> Hit:
    held = entry.get("document", entry) if isinstance(entry, dict) else entry
    try:
        found = document({"text": held} if isinstance(held, str) else held)
    except NotADocument as error:
        raise BadServiceReply(str(error)) from None
    score = entry.get("score") if isinstance(entry, dict) else None
    return Hit(words(found.title), "", words(found.text), number(score))
