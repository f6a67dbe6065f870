"""Online reads over one call: the answers of single reads, in the order of the questions."""

from concurrent.futures import ThreadPoolExecutor

import driftline
import pyarrow as pa
import pytest
from conftest import HOUR, NOON

TWO = NOON + 2 * HOUR


def test_a_stream_answers_as_single_reads_do(filled):
    features = [filled.ref("temp"), filled.ref("count")]
    questions = [
        [{"station": "a"}],
        {"station": ["nobody", "b"]},
        pa.table({"station": ["b", "a", "b"]}),
    ]
    with filled.store.online_stream(features, at=TWO) as stream:
        for asked in questions:
            answer = stream.get(asked)
            single = filled.store.get_online_features(features, asked, at=TWO)
            assert answer.to_arrow().equals(single.to_arrow())
            assert answer.statuses == single.statuses
            assert answer.event_timestamps == single.event_timestamps
    with pytest.raises(ValueError, match="closed"):
        stream.get([{"station": "a"}])
    stream.close()


def test_a_stream_sees_what_was_written_meanwhile(world):
    with world.store.online_stream([world.ref("temp")], True, metadata=False) as stream:
        assert stream.get([{"station": "a"}]).to_dict() == {
            "station": ["a"],
            f"{world.name}__temp": [None],
        }
    with world.store.online_stream([world.ref("temp")], at=TWO) as stream:
        for temp in (1.0, 2.0):
            row = {"station": "a", "event_timestamp": NOON, "temp": temp, "count": 1}
            world.store.ingest(world.name, [row])
            assert stream.get([{"station": "a"}]).to_dict()["temp"] == [temp]


def test_threads_get_the_answers_to_their_own_questions(filled):
    expected = {"a": 3, "b": 4, "nobody": None}
    with filled.store.online_stream([filled.ref("count")], at=TWO) as stream:

        def ask(i):
            name = list(expected)[i % 3]
            asked = [{"station": name}] * (1 + i % 5)
            return stream.get(asked).to_dict()["count"] == [expected[name]] * len(asked)

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(ask, range(300)))


def test_a_question_larger_than_a_message_has_one_answer(filled):
    stations = ["a", "b"] * 200_000
    with filled.store.online_stream([filled.ref("count")], at=TWO, metadata=False) as stream:
        assert stream.get({"station": stations}).to_dict()["count"] == [3, 4] * 200_000
        assert stream.get({"station": ["b"]}).to_dict()["count"] == [4]


def test_other_columns_than_before_are_refused_and_the_stream_goes_on(filled):
    with filled.store.online_stream([filled.ref("count")], at=TWO) as stream:
        assert stream.get([{"station": "a"}]).to_dict()["count"] == [3]
        for wrong in ([{"place": "a"}], [{"station": "a", "place": "a"}], {"station": [1]}):
            with pytest.raises(driftline.InvalidError, match="the columns are"):
                stream.get(wrong)
        with pytest.raises(driftline.InvalidError, match="no entities"):
            stream.get({"station": pa.array([], pa.string())})
        assert stream.get([{"station": "b"}]).to_dict()["count"] == [4]


def test_an_error_of_the_server_ends_the_stream(filled):
    with filled.store.online_stream([filled.ref("count")]) as stream:
        for _ in range(2):
            with pytest.raises(driftline.InvalidError, match="station"):
                stream.get([{"place": "a"}])
    unknown = filled.store.online_stream(["nothing:count"])
    with unknown, pytest.raises(driftline.NotFoundError, match="nothing"):
        unknown.get([{"station": "a"}])
