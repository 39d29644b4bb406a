import pytest

pytest.importorskip("gradio", reason="the page needs the extra 'demo'")

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from modeling_evf_sam.demo.gate import APP_SETTINGS


async def _read(request):
    body = await request.json()
    return JSONResponse(body, status_code=body["status"])


CLIENT = TestClient(
    Starlette(routes=[Route("/", _read, methods=["GET", "POST"])], **APP_SETTINGS), raise_server_exceptions=False
)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"status": 200}', 200), (b'{"status": 503}', 503), (b'{"status": 500}', 400), (b"[]", 400), (b"{", 400)],
)
def test_a_body_that_cannot_be_read_is_the_senders_mistake(body, status):
    assert CLIENT.post("/", content=body).status_code == status


def test_other_requests_keep_their_status():
    assert CLIENT.request("GET", "/", content=b"{").status_code == 500
