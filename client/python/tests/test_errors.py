"""Each code is an exception of its own, whichever door it comes through."""

import driftline
import pytest
from driftline.errors import DriftlineError, from_json, from_status


def test_json():
    body = {"code": "not_found", "message": "m", "hint": "h", "ref": "view/x"}
    error = from_json(body)
    assert isinstance(error, driftline.NotFoundError)
    assert (error.message, error.hint, error.ref, str(error)) == ("m", "h", "view/x", "m; h")
    assert isinstance(from_json({"code": "from the future"}), driftline.InternalError)


@pytest.mark.parametrize("kind", DriftlineError.__subclasses__())
def test_every_class_can_be_made_and_found(kind):
    assert type(from_json({"code": kind.code, "message": "m"})) is kind
    assert type(from_status(f"Flight returned: {kind.code}: m; h. Detail: x")) is kind


def test_status_gives_message_and_hint_without_what_grpc_adds():
    text = (
        'Flight error: invalid: column "a" is wrong (row 17); write b. '
        "gRPC client debug context: UNKNOWN:Error received from peer"
    )
    error = from_status(text)
    assert (error.message, error.hint) == ('column "a" is wrong (row 17)', "write b")
    assert from_status("failed to connect") is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("it is full", "it is full", ""),
        ("it is full; wait; or ask for less", "it is full", "wait; or ask for less"),
        ('view "a; \\"b" is unknown; use "c"', 'view "a; \\"b" is unknown', 'use "c"'),
        ('an odd " quote; h', 'an odd " quote', "h"),
        ("", "", ""),
        ("two\nlines; h", "two\nlines", "h"),
    ],
)
def test_the_hint_is_what_follows_the_message(text, message, hint):
    error = from_status(f"invalid: {text}")
    assert (error.message, error.hint) == (message, hint)


def test_no_server():
    with pytest.raises(driftline.UnavailableError, match="driftline serve"):
        driftline.FeatureStore("http://127.0.0.1:9")


def test_an_address_that_is_none():
    with pytest.raises(ValueError, match="http://"):
        driftline.FeatureStore("127.0.0.1:8816")


def test_errors_through_http(store):
    with pytest.raises(driftline.NotFoundError):
        store.dataset("nothing_of_this_name")


def test_errors_through_flight(store, world):
    job = store.get_historical_features(
        {"station": ["a"], "event_timestamp": ["2024-05-01T12:00:00Z"]}, [world.ref("tmep")]
    )
    with pytest.raises(driftline.NotFoundError) as caught:
        job.to_arrow()
    assert "temp" in caught.value.hint
    assert "rpc" not in str(caught.value).lower()


def test_errors_through_flight_sql(store):
    with pytest.raises(driftline.NotFoundError) as caught:
        store.sql("SELECT * FROM features.nothing_of_this_name")
    assert "rpc" not in str(caught.value).lower()
