import json

import pytest
from hypothesis import strategies as st

from tests.fuzzing.damage import damaged
from tests.fuzzing.outcomes import fuzzed

gradio = pytest.importorskip("gradio", reason="the page needs the extra 'demo'")

PATHS = st.sampled_from([
    "queue/join", "run/predict", "run/find", "api/find", "call/find", "call/v2/find", "upload", "component_server",
    "cancel", "reset", "process_recording", "stream/x", "stream/x/close",
])  # fmt: skip
TYPES = st.sampled_from(
    ["application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain", ""]
)
KEYS = st.sampled_from(["data", "fn_index", "session_hash", "event_id", "trigger_id", "component_id", "fn_name", "x"])
LEAVES = st.none() | st.booleans() | st.integers(-9, 10**20) | st.floats() | st.text(max_size=5)
BODIES = st.dictionaries(
    KEYS,
    st.recursive(LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(KEYS, each, max_size=3)),
    max_size=6,
).map(lambda body: json.dumps(body).encode())
FORM = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\ncontent\r\n--x--\r\n'


@pytest.fixture(scope="module")
def client(tiny_checkpoint):
    from starlette.testclient import TestClient

    from modeling_evf_sam.demo.gate import APP_SETTINGS
    from modeling_evf_sam.demo.page import build_page
    from modeling_evf_sam.demo.segmenting import SharedModel
    from modeling_evf_sam.inference.loading import load_model

    page = build_page(SharedModel(*load_model(str(tiny_checkpoint), "cpu"), "tiny"))
    page.max_file_size = 1000  # as `launch` sets it
    return TestClient(gradio.routes.App.create_app(page, app_kwargs=APP_SETTINGS), raise_server_exceptions=False)


@fuzzed(
    "page",
    share=0.5,
    path=PATHS,
    kind=TYPES,
    body=BODIES
    | damaged(BODIES)
    | st.binary(max_size=30)
    | damaged(st.just(FORM))
    | st.just(FORM)
    | st.just(b"[" * 9000),
)
def test_a_body_is_taken_or_its_sender_is_told(path, kind, body, client):
    answer = client.post(f"/gradio_api/{path}", content=body, headers={"content-type": kind})
    if answer.status_code == 500:
        raise AssertionError(answer.text)
    if answer.status_code >= 400:
        raise ValueError(f"status {answer.status_code}")
