"""The server as its clients see it."""

import base64
import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam.inference.segmenting import segment
from tests.serve.conftest import encoded, noise

SENTENCES = ["the red circle", "the green triangle"]


@pytest.fixture(scope="module")
def expected(loaded, photo):
    (found,) = segment(*loaded, [photo], [SENTENCES])
    return found


def _masks(answer):
    return np.array([coco_mask.decode(entry["rle"]).astype(bool) for entry in answer["masks"]])


def test_a_photo_and_sentences_give_masks(client, photo, expected):
    answer = client.post("/segment", json={"photo": {"base64": encoded(photo)}, "sentences": SENTENCES}).json()
    assert (answer["width"], answer["height"]) == photo.size
    assert [entry["sentence"] for entry in answer["masks"]] == SENTENCES
    assert np.array_equal(_masks(answer), expected.masks)
    for name in ("score", "quality", "presence"):
        assert {name} <= set(answer["masks"][0])


def test_multipart_gives_the_same(client, photo, expected):
    file = io.BytesIO()
    photo.save(file, "PNG")
    question = json.dumps({"sentences": SENTENCES})
    answer = client.post("/segment", files={"photo": file.getvalue()}, data={"question": question}).json()
    assert np.array_equal(_masks(answer), expected.masks)


def test_a_photo_is_sent_once_and_encoded_once(serve, photo, expected):
    server = serve()
    with httpx.Client(base_url=server.address, timeout=120) as client:
        sent = client.post("/photos", json={"base64": encoded(photo)}).json()
        assert (sent["width"], sent["height"]) == photo.size
        for _ in range(2):
            answer = client.post("/segment", json={"photo": {"id": sent["id"]}, "sentences": SENTENCES}).json()
            assert answer["photo_id"] == sent["id"]
            assert np.array_equal(_masks(answer), expected.masks)
        client.post("/segment", json={"photo": {"base64": encoded(photo)}, "sentences": SENTENCES})
    assert server.engine.encodings == 1


def test_clients_who_ask_about_one_photo_at_once_encode_it_once(serve, photo, expected):
    server = serve()
    body = {"photo": {"base64": encoded(photo)}, "sentences": SENTENCES}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx.post(f"{server.address}/segment", json=body, timeout=120), range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    for answer in answers:
        assert np.array_equal(_masks(answer.json()), expected.masks)
    assert server.engine.encodings == 1


@pytest.mark.parametrize("format", ["rle", "polygons", "png"])
def test_formats_of_masks(client, photo, expected, format):
    body = {"photo": {"base64": encoded(photo)}, "sentences": SENTENCES, "format": format, "instances": True}
    for entry, mask in zip(client.post("/segment", json=body).json()["masks"], expected.masks, strict=True):
        assert {"rle", "polygons", "png"} & set(entry) == {format}
        assert {"rle", "polygons", "png"} & set(entry["instances"][0]) == {format}
        if format == "png":
            picture = Image.open(io.BytesIO(base64.b64decode(entry["png"])))
            assert np.array_equal(np.asarray(picture), mask)
        if format == "polygons":
            runs = coco_mask.merge(coco_mask.frPyObjects(entry["polygons"], *mask.shape))
            assert (coco_mask.decode(runs).astype(bool) >= mask).all()


def test_points_boxes_and_exclusion_are_those_of_the_predictor(client, loaded, photo):
    points, box = [[[20.5, 30.5]], None], [5.0, 5.0, 100.0, 100.0]
    body = {
        "photo": {"base64": encoded(photo)}, "sentences": SENTENCES, "semantic": [False, True], "points": points,
        "point_labels": [[1], None], "boxes": [box, None], "exclude": [["the red triangle"], None],
        "present_threshold": 0,
    }  # fmt: skip
    answer = client.post("/segment", json=body).json()
    (found,) = segment(
        *loaded, [photo], [SENTENCES], semantic=[[False, True]], points=[[points[0], []]],
        boxes=[[box, None]], exclude=[[["the red triangle"], []]], present_threshold=0,
    )  # fmt: skip
    assert np.array_equal(_masks(answer), found.masks)


def test_what_is_not_there_has_no_mask(client, photo):
    body = {"photo": {"base64": encoded(photo)}, "sentences": ["the purple banana"]}
    (entry,) = client.post("/segment", json=body).json()["masks"]
    assert (entry["present"], entry["area"]) == (False, 0)


def test_a_client_of_roboflow_gets_its_detections(client, photo, scene):
    supervision = pytest.importorskip("supervision", reason="needs the extra 'supervision'")
    body = {
        "api_key": "x", "model_id": "sam3/sam3_final", "output_prob_thresh": 0.5, "format": "polygon",
        "image": {"type": "base64", "value": encoded(photo)},
        "prompts": [{"type": "text", "text": "triangle"}, {"type": "text", "text": "banana"}],
    }  # fmt: skip
    answer = client.post("/sam3/concept_segment", params={"api_key": "x"}, json=body).json()
    detections = supervision.Detections.from_sam3(answer, resolution_wh=photo.size)
    triangles = [thing.mask for thing in scene.objects if thing.shape == "triangle"]
    assert detections.class_id.tolist() == [0] * len(triangles)
    for mask in triangles:
        assert max((mask & own).sum() / (mask | own).sum() for own in detections.mask) > 0.8
    body["format"] = "rle"
    first = client.post("/sam3/concept_segment", json=body).json()["prompt_results"][0]["predictions"][0]
    assert coco_mask.decode(first["masks"]).any()


def test_health_readiness_figures_and_docs(client, photo):
    assert client.get("/health").json() == {"status": "alive"}
    ready = client.get("/ready").json()
    assert ready["ready"] is True and "drawn shapes" in ready["warning"]
    client.post("/segment", json={"photo": {"base64": encoded(photo)}, "sentences": SENTENCES})
    client.get("/nowhere/at/all")
    text = client.get("/metrics").text
    assert 'evf_sam_requests_total{path="/segment",status="200"}' in text
    assert 'path="other",status="404"' in text
    assert "evf_sam_photos_encoded" in text
    schema = client.get("/openapi.json").json()
    assert {"/segment", "/photos", "/sam3/concept_segment"} <= set(schema["paths"])
    body = schema["paths"]["/segment"]["post"]["requestBody"]["content"]["application/json"]
    assert "sentences" in body["schema"]["properties"]


GOOD = {"photo": {"base64": encoded(noise(0))}, "sentences": ["a star"]}
BAD = {
    "no sentence": ({**GOOD, "sentences": []}, "sentences"),
    "empty sentence": ({**GOOD, "sentences": [" "]}, "sentences"),
    "long sentence": ({**GOOD, "sentences": ["x" * 301]}, "sentences"),
    "many sentences": ({**GOOD, "sentences": ["x"] * 65}, "sentences"),
    "too many words": ({**GOOD, "sentences": ["a " * 149]}, "shorten it"),
    "no photo": ({"sentences": ["a star"]}, "photo"),
    "two photos": ({**GOOD, "photo": {"base64": "x", "id": "0" * 64}}, "give one of them"),
    "no base64": ({**GOOD, "photo": {"base64": "?"}}, "no base64"),
    "no image": ({**GOOD, "photo": {"base64": base64.b64encode(b"hello").decode()}}, "is not an image"),
    "an address": ({**GOOD, "photo": {"base64": "http://127.0.0.1/x.png"}}, "no base64"),
    "points of others": ({**GOOD, "points": [[[1, 1]], [[2, 2]]]}, "points has 2 entries"),
    "a point outside": ({**GOOD, "points": [[[1000.0, 1.0]]]}, "outside the photo"),
    "words for numbers": ({**GOOD, "points": [[["1", "2"]]]}, "points"),
    "not a number": ('{"photo": {"base64": ""}, "sentences": ["a"], "boxes": [[NaN, 0, 1, 1]]}', "boxes"),
    "unknown": ({**GOOD, "prompt": "a star"}, "prompt"),
    "not JSON": ("{", "Invalid JSON"),
    "deep": ("[" * 100_000, "Invalid JSON"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_bodies_are_told_in_one_line(client, kind):
    body, message = BAD[kind]
    content = body if isinstance(body, str) else json.dumps(body)
    answer = client.post("/segment", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert message in error and "\n" not in error and "Traceback" not in error


def test_an_unknown_photo_and_other_types_of_body(client):
    assert client.post("/segment", json={**GOOD, "photo": {"id": "0" * 64}}).status_code == 404
    assert client.post("/segment", content=b"hello").json()["error"].startswith("send application/json or multipart")
    assert client.post("/segment", files={"other": b"x"}).json()["error"] == "multipart needs a file called photo"
    assert client.get("/segment").status_code == 405


def test_a_full_queue_is_told(serve, monkeypatch):
    server = serve(queue_size=1)
    held = threading.Event()
    predict = server.engine.predictor.predict
    monkeypatch.setattr(server.engine.predictor, "predict", lambda *a, **k: held.wait(60) and predict(*a, **k))
    with ThreadPoolExecutor(6) as pool:
        bodies = [{**GOOD, "photo": {"base64": encoded(noise(index))}} for index in range(6)]
        waiting = []
        for body in bodies:
            waiting.append(pool.submit(httpx.post, f"{server.address}/segment", json=body, timeout=120))
            while not server.engine.encodings:  # the first one is being answered
                time.sleep(0.01)
        while sum(one.done() for one in waiting) < 4:
            time.sleep(0.01)
        refused = [one.result() for one in waiting if one.done()]
        held.set()
        answers = [one.result() for one in waiting]
    assert {one.status_code for one in refused} == {429}
    assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
    assert sorted(one.status_code for one in answers) == [200] * 2 + [429] * 4


def test_an_answer_that_takes_too_long_is_given_up(serve, monkeypatch):
    server = serve(answer_seconds=0.2)
    predict = server.engine.predictor.predict
    monkeypatch.setattr(server.engine.predictor, "predict", lambda *a, **k: time.sleep(1) or predict(*a, **k))
    answer = httpx.post(f"{server.address}/segment", json=GOOD, timeout=120)
    assert (answer.status_code, answer.json()["error"]) == (504, "no answer within 0.2 s: ask for less, or later")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"authorization": "Bearer wrong"}, 401), ({"authorization": "Bearer secret"}, 200)],
)
def test_a_token_is_asked_for(serve, headers, status):
    server = serve(token="secret")
    answer = httpx.post(f"{server.address}/segment", json=GOOD, headers=headers, timeout=120)
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert httpx.get(f"{server.address}/health").status_code == 200
    assert httpx.get(f"{server.address}/metrics").status_code == 401


def test_large_slow_and_endless_requests_are_refused(serve):
    server = serve(max_bytes=10_000, upload_seconds=0.5)
    kind = {"content-type": "application/json"}
    answer = httpx.post(f"{server.address}/segment", content=b"x" * 10_001, headers=kind)
    assert (answer.status_code, answer.json()["error"][:29]) == (413, "a body has 10000 bytes at the")
    many = httpx.post(
        f"{server.address}/segment", content=iter([b"x" * 6000] * 2), headers=kind
    )  # of no announced length
    assert many.status_code == 413
    slow = b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\nhalf"
    assert _raw(server.port, slow).startswith(b"HTTP/1.1 408")
    large = b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"
    assert _raw(server.port, large).startswith(b"HTTP/1.1 4")
    assert _raw(server.port, b"\x16\x03\x01 what\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{server.address}/health").status_code == 200


def _raw(port, content):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(content)
        return connection.recv(4096)


def test_a_server_that_stops_finishes_what_it_took(serve, photo, expected, monkeypatch):
    server, taken = serve(), []
    ask = server.engine.ask
    monkeypatch.setattr(server.engine, "ask", lambda *asked: taken.append(asked) or ask(*asked))
    body = {"photo": {"base64": encoded(photo)}, "sentences": SENTENCES}
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(httpx.post, f"{server.address}/segment", json=body, timeout=120) for _ in range(4)]
        while len(taken) < len(waiting):
            time.sleep(0.001)
        server.server.should_exit = True
        answers = [one.result() for one in waiting]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert np.array_equal(_masks(answers[0].json()), expected.masks)
    server.thread.join(30)
    assert not server.engine.is_open
