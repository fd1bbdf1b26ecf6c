"""A key shows nowhere but in the request."""

import copy
import pickle

import pytest

from aepo.tools.key import ApiKey

CANARY = "canary-5e1f"


class Sent:
    headers: dict[str, str]

    def __init__(self) -> None:
        self.headers = {}


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> ApiKey:
    monkeypatch.setenv("ACME_KEY", f" {CANARY}\n")
    return ApiKey("ACME_KEY", "X-Key", "Token ")


def test_it_goes_into_the_header_that_the_service_wants(key: ApiKey) -> None:
    sent = Sent()
    assert key.sign(sent) is sent and sent.headers == {"X-Key": f"Token {CANARY}"}


def test_it_does_not_show(key: ApiKey) -> None:
    assert repr(key) == str(key) == "ApiKey('ACME_KEY')"
    assert not hasattr(key, "__dict__")
    assert key.hide(f"your key {CANARY} is bad".encode()) == b"your key [key] is bad"


def test_a_pickle_and_a_copy_hold_the_name_of_the_variable_only(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(key)
    assert CANARY.encode() not in data and b"ACME_KEY" in data
    monkeypatch.setenv("ACME_KEY", "other")
    for made in (pickle.loads(data), copy.deepcopy(key)):
        assert made.sign(Sent()).headers == {"X-Key": "Token other"}


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("ACME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("ACME_KEY", value)
    with pytest.raises(ValueError, match=r"^the environment variable ACME_KEY is not set; export ACME_KEY=<your key>$"):
        ApiKey("ACME_KEY")


@pytest.mark.parametrize("value", ["canary\nX: y", "canary canary", "canaryé", "canary\x7f"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ACME_KEY", value)
    with pytest.raises(ValueError, match="ACME_KEY holds no key") as error:
        ApiKey("ACME_KEY")
    assert "canary" not in str(error.value)
