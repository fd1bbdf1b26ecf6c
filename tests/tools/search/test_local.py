"""Searching: hostile queries, reproducible order, files."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from aepo.tools.search import Document, Hit, Index, LocalSearch, search
from aepo.types import ToolError, ToolStatus

CITIES = [
    Document("Zürich", "Zürich is a city in Switzerland."),
    Document("Springfield", "Springfield is a city in Illinois."),
    Document("Springfield", "Springfield is a city in Missouri."),
    Document("Illinois", "A state with several cities, one of them Springfield."),
    Document("北京", "北京 is the capital of China."),
]


def test_the_best_hits_come_one_a_line() -> None:
    made = search(CITIES, top_k=2)
    result = anyio.run(made.call, {"query": "Springfield"})
    assert result.text == "- Springfield is a city in Illinois.\n- Springfield is a city in Missouri."
    assert made.name == "search" and list(made.parameters["properties"]) == ["query"]


def test_a_title_counts_more_than_a_text() -> None:
    assert Index(CITIES).search("illinois", 1) == [CITIES[3].text]


@pytest.mark.parametrize("query", ["zurich", "ZÜRICH", "Zürich?", "zu\u0308rich zurich"])
def test_case_and_accents_do_not_matter(query: str) -> None:
    assert Index(CITIES).search(query, 1) == [CITIES[0].text]


@pytest.mark.parametrize(
    "query",
    [
        'zurich "', '"zurich', "title:zurich", "zurich^", "(zurich", "zurich)", "zurich AND", "NOT zurich", "-zurich",
        "+zurich", "zurich~2", "/zurich/", "zurich*", "[zurich TO", "zurich\\", "{zurich", "zurich\0", "zurich \ud800",
        "zurich " + "🦜" * 50, "zurich " * 1500, "zurich " + "x" * 10_000,
    ],
)  # fmt: skip
def test_no_query_is_parsed_as_a_query_language(query: str) -> None:
    assert Index(CITIES).search(query, 1) == [CITIES[0].text]


def test_other_scripts_are_found() -> None:
    assert Index(CITIES).search("北京", 1) == [CITIES[4].text]


@pytest.mark.parametrize("query", ["", "  ", "?!:", '"'])
def test_a_query_without_words_is_an_error_the_model_sees(query: str) -> None:
    result = anyio.run(search(CITIES).call, {"query": query})
    assert result.status is ToolStatus.ERROR and result.text == "the query has no words"
    with pytest.raises(ToolError):
        Index(CITIES).search(query, 1)


def test_finding_nothing_is_said() -> None:
    result = anyio.run(search(CITIES).call, {"query": "nowhere"})
    assert result.status is ToolStatus.OK and result.text == "nothing found"


def test_equal_scores_keep_the_documents_order() -> None:
    twins = [Document("Twin", f"Twin number {i:03}") for i in range(500)]
    assert Index(twins).search("twin", 5) == [f"Twin number {i:03}" for i in range(5)]


def test_another_process_gives_the_same_answer() -> None:
    code = (
        "from aepo.tools.search import Document, Index\n"
        "docs = [Document(f'name {i % 7}', ' '.join(f'w{i * j % 31}' for j in range(12))) for i in range(400)]\n"
        "index = Index(docs)\n"
        "print([index.search(f'w{q} w{q + 3} name', 5) for q in range(20)])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


def test_many_threads_get_the_answers_of_one() -> None:
    index = Index([Document(f"n{i % 50}", f"text {i} of group {i % 50}") for i in range(1000)])
    queries = [f"n{i % 50} group" for i in range(200)]
    alone = [index.search(q, 3) for q in queries]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda q: index.search(q, 3), queries)) == alone


def test_line_breaks_in_a_text_do_not_split_a_hit() -> None:
    assert Index([Document("a", "one\n two\n\nthree")]).search("one", 1) == ["one two three"]


def test_an_empty_corpus_and_a_senseless_top_k_are_refused() -> None:
    with pytest.raises(ValueError, match="no documents"):
        search([])
    with pytest.raises(ValueError, match="top_k is 0"):
        search(CITIES, top_k=0)


def test_an_index_is_a_backend_like_any_other() -> None:
    made = LocalSearch(Index(CITIES))
    [hit] = anyio.run(made.search, "zurich", 1)
    assert hit == Hit("Zürich", "", CITIES[0].text, hit.score) and hit.score > 0
    assert anyio.run(search(made, top_k=1).call, {"query": "zurich"}).text == f"- {CITIES[0].text}"


def test_a_large_index_is_searched_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepo.tools.search.local._INLINE_DOCUMENTS", 3)
    made = LocalSearch(Index(CITIES))
    assert not made.inline and not search(made).inline
    assert [hit.text for hit in anyio.run(made.search, "zurich", 1)] == [CITIES[0].text]


def test_the_version_is_that_of_documents_and_ranking() -> None:
    version = LocalSearch(Index(CITIES)).version
    assert LocalSearch(Index(iter(CITIES))).version == version
    assert LocalSearch(Index(CITIES[::-1])).version != version
    assert LocalSearch(Index(CITIES, title_boost=3.0)).version != version
