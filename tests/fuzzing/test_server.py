import base64
import io
import json

import pytest
from hypothesis import strategies as st
from PIL import Image

from tests.fuzzing.damage import damaged
from tests.fuzzing.outcomes import fuzzed

PATHS = st.sampled_from(["/segment", "/photos", "/sam3/concept_segment", "/ready", "/%00"])
KINDS = st.sampled_from(["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain"])


def _photo() -> str:
    content = io.BytesIO()
    Image.new("RGB", (12, 9), "teal").save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


GOOD = {
    "photo": {"base64": _photo()},
    "sentences": ["the red circle", "a dog"],
    "semantic": [True, False],
    "points": [[[1.0, 2.0]], None],
    "point_labels": [[1], None],
    "boxes": [None, [1, 2, 8, 8]],
    "exclude": [["a cup"], None],
    "format": "polygons",
}
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 20) | st.sampled_from([10**20, 10**400]),
    st.floats(),
    st.text(max_size=9) | st.sampled_from(["a dog", "file:///etc/passwd", "data:,", "\ud800", "word " * 900]),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
NUMBER = st.integers(0, 9)
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "points": st.tuples(st.lists(st.tuples(NUMBER, NUMBER), max_size=2), st.none()),
        "point_labels": st.just([None, None]),
        "boxes": st.tuples(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), st.none()),
        "semantic": st.booleans(),
        "instances": st.booleans(),
        "present_threshold": st.floats(-0.5, 1.5),
        "format": st.sampled_from(["rle", "polygons", "png", "bits"]),
    },
)
CHANGED = LIKELY | st.dictionaries(st.sampled_from([*GOOD, "text", "x"]), VALUES, max_size=2)
BODIES = CHANGED.map(lambda changes: json.dumps({**GOOD, **changes}).encode())
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n%s\r\n'
    b'--x\r\nContent-Disposition: form-data; name="question"\r\n\r\n{"sentences": ["a dog"]}\r\n--x--\r\n'
) % base64.b64decode(GOOD["photo"]["base64"])


@pytest.fixture(scope="module")
def client(tiny_checkpoint):
    pytest.importorskip("prometheus_client", reason="serving needs the extra 'serve'")
    from starlette.testclient import TestClient

    from modeling_evf_sam.inference.loading import load_model
    from modeling_evf_sam.serve.app import build_app
    from modeling_evf_sam.serve.engine import Engine

    engine = Engine(*load_model(str(tiny_checkpoint), "cpu"), cache_bytes=10_000_000, queue_size=8)
    with TestClient(build_app(engine), raise_server_exceptions=False) as client:
        yield client


def _post(client, path, body, kind):
    answer = client.post(path, content=body, headers={"content-type": kind})
    if answer.status_code >= 500:
        raise AssertionError(answer.text)
    if answer.status_code >= 400:
        raise ValueError(answer.json()["error"])


@fuzzed("server", body=st.one_of(BODIES, damaged(BODIES)))
def test_a_question_is_answered_or_its_sender_is_told(body, client):
    _post(client, "/segment", body, "application/json")


@fuzzed("server", path=PATHS, kind=KINDS, body=st.one_of(BODIES, damaged(st.just(FORM)), st.binary(max_size=30)))
def test_any_body_at_any_address(path, kind, body, client):
    _post(client, path, body, kind)
