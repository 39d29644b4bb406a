"""The server with replicas of Ray Serve, from the command on."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from pycocotools import mask as coco_mask

from evf_sam_cli import main
from modeling_evf_sam.inference.segmenting import segment
from tests.serve.conftest import encoded, noise

pytest.importorskip("ray.serve", reason="replicas need the extra 'serve-ray'", exc_type=ImportError)

SCRIPT = Path(sys.executable).with_name("evf-sam")
SENTENCES = ["the red circle", "the green triangle"]
PATIENCE = 120  # seconds


@pytest.fixture(scope="module")
def server():
    command = [SCRIPT, "serve", "--port", "0", "--ray", "--replicas", "2", "--queue", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().split()[0]
    finally:
        process.terminate()
        process.wait(PATIENCE)


def replicas(process) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "ServeReplica" in " ".join(child.cmdline())]


def ask(address, photo, **more):
    body = {
        "photo": {"base64": encoded(photo)} if not isinstance(photo, str) else {"id": photo},
        "sentences": SENTENCES,
    }
    return httpx.post(f"{address}/segment", json={**body, **more}, timeout=PATIENCE)


def test_replicas_answer_as_one_process_and_encode_a_photo_once(server, loaded, photo):
    _, address = server
    sent = httpx.post(f"{address}/photos", json={"base64": encoded(photo)}, timeout=PATIENCE).json()
    time.sleep(1)  # until Ray has heard who knows the photo
    answers = [ask(address, sent["id"]) for _ in range(4)]
    (expected,) = segment(*loaded, [photo], [SENTENCES])
    for answer in answers:
        masks = np.array([coco_mask.decode(entry["rle"]).astype(bool) for entry in answer.json()["masks"]])
        assert np.array_equal(masks, expected.masks)
    figures = httpx.get(f"{address}/metrics").text
    assert "evf_sam_photos_encoded 1.0" in figures.splitlines()


def test_mistakes_are_told_as_without_replicas(server):
    _, address = server
    assert ask(address, "0" * 64).status_code == 404
    wrong = ask(address, noise(0), points=[[[900, 1]], None])
    assert wrong.status_code == 422
    assert "is outside the photo" in wrong.json()["error"]
    assert "Traceback" not in wrong.text


def test_a_killed_replica_loses_no_request(server):
    process, address = server
    photos = [noise(seed) for seed in range(12)]
    before = [ask(address, photo).json() for photo in photos]
    victim = replicas(process)[0]
    with ThreadPoolExecutor(6) as clients:
        asked = [clients.submit(ask, address, photo) for photo in photos * 3]
        while not any(one.done() for one in asked):
            time.sleep(0.01)
        victim.kill()
        answers = [one.result() for one in asked]
    assert [answer.status_code for answer in answers] == [200] * 36
    assert [answer.json() for answer in answers] == before * 3
    start = time.monotonic()
    while len(replicas(process)) < 2 and time.monotonic() - start < PATIENCE:
        time.sleep(0.2)
    assert victim.pid not in {replica.pid for replica in replicas(process)}
    assert len(replicas(process)) == 2


def test_what_was_taken_is_answered_before_it_ends(server):
    process, address = server
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(ask, address, noise(seed)) for seed in range(100, 108)]
        while not any(one.done() for one in asked):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {200}
    process.wait(PATIENCE)
    assert not psutil.pid_exists(process.pid)


def test_what_cannot_be_loaded_is_one_line():
    command = [SCRIPT, "serve", "--port", "0", "--ray", "--device", "nosuch"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("error: device 'nosuch' cannot be used")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("options", [["--replicas", "2"], ["--ray", "--replicas", "3", "--max-replicas", "2"]])
def test_numbers_that_do_not_fit(options, capsys):
    assert main(["serve", *options]) == 2
    assert "replicas need --ray, and no fewer --max-replicas than --replicas" in capsys.readouterr().err
