"""Words of every script are found as people write them, and English is cut as ever."""

import pytest
import tantivy
from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.search import Document, Index
from aepo.tools.search.terms import analyser, spaced
from aepo.types import ToolError

TEXTS = {
    "北京是中华人民共和国的首都，位于华北平原的北部。": ["首都", "华北平原", "京", "中华人民共和国的首都是哪里",
        "北京市的常住人口是多少在二零二零年的人口普查中显示的结果"],
    "東京は日本の首都であり、サーバーが多い。": ["日本の首都", "サーバー", "ｻｰﾊﾞｰ", "東"],
    "서울은 대한민국의 수도이다.": ["수도", "대한민국", "서울에서", "울"],
    "กรุงเทพมหานครเป็นเมืองหลวงที่ใหญ่ที่สุดของประเทศไทย": ["เมืองหลวง", "ประเทศไทย", "ที่"],
    "ភ្នំពេញជារដ្ឋធានីនៃកម្ពុជា": ["រដ្ឋធានី", "កម្ពុជា"],
    "ວຽງຈັນເປັນນະຄອນຫຼວງຂອງລາວ": ["ນະຄອນຫຼວງ", "ລາວ"],
    "ရန်ကုန်သည် မြန်မာနိုင်ငံ၏ မြို့တော်ဟောင်းဖြစ်သည်": ["ရန်ကုန်", "မြို့တော်"],
    "iPhone手机在２０２４年发布": ["iphone", "手机", "IPHONE手机", "2024", "ｉＰｈｏｎｅ"],
    "दिल्ली हिन्दी भाषा का नगर है": ["हिन्दी", "दिल्ली"],
    "كَتَبَ مُحَمَّدٌ كتابًا عام ٢٠٢٤": ["محمد", "كتب", "2024"],
    "יְרוּשָׁלַיִם היא עיר": ["ירושלים"],
    "Москва — столица; Королёв рядом": ["МОСКВА", "королев"],
    "Η Αθήνα και ο Οδυσσεύς": ["ΑΘΗΝΑ", "ΟΔΥΣΣΕΥΣ", "αθηνα"],
    "Hà Nội; Kraków; Straße; Ærø; İzmir; naïve cafe\u0301": [
        "ha noi", "krakow", "STRASSE", "aero", "izmir", "naive", "café"],
    "I ❤️ parrots 🦜 of 🇨🇭": ["❤", "🦜", "🇨🇭"],
}  # fmt: skip


@pytest.mark.parametrize(("text", "query"), [(text, query) for text, queries in TEXTS.items() for query in queries])
def test_a_word_of_any_script_is_found(text: str, query: str) -> None:
    assert text in Index([Document("", each) for each in TEXTS]).search(query, 3)


def test_a_query_in_han_finds_nothing_by_single_characters_of_other_words() -> None:
    index = Index([Document("", "京都の北にある都"), Document("", "首都")])
    assert index.search("首都", 3) == ["首都"]


@given(st.text(st.characters(max_codepoint=127)))  # type: ignore[misc]
def test_ascii_is_cut_as_the_librarys_own_tokenizer_cuts_it(text: str) -> None:
    simple = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase()).build()
    assert analyser().analyze(spaced(text)) == simple.analyze(text)


@given(st.text())  # type: ignore[misc]
def test_whatever_holds_a_letter_or_digit_is_found_by_itself(text: str) -> None:
    index = Index([Document("", text)])
    try:
        assert len(index.search(text[:40], 1)) == 1
    except ToolError:
        assert not any(character.isascii() and character.isalnum() for character in text[:40])
