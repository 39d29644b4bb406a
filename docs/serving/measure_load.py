"""Writes load.json: what `evf-sam serve` does under load, on this machine, with the embedded checkpoint.

`python docs/serving/measure_load.py [REQUESTS [CLIENTS]]` starts a server, asks it one request at a time, and then
from as many clients at once, about 50 photos; and keeps seconds, statuses and the server's memory along the way.
"""

import base64
import io
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import torch

from modeling_evf_sam.bench.record import machine
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

PHOTOS, ALONE = 50, 200
RETRIES = 50


def bodies(count: int) -> list[dict[str, Any]]:
    """Requests about rendered scenes, each with the sentences of its scene."""
    scenes = RenderedScenes("test", PHOTOS)
    found = []
    for scene in (scenes[index] for index in range(PHOTOS)):
        file = io.BytesIO()
        scene.photo.save(file, "PNG")
        photo = {"base64": base64.b64encode(file.getvalue()).decode()}
        found.append({"photo": photo, "sentences": scene.sentences})
    return [found[index % PHOTOS] for index in range(count)]


def ask(client: httpx.Client, body: dict[str, Any]) -> tuple[float, list[int]]:
    """Seconds to the answer, and the statuses on the way: a client that is told to come again does."""
    start, statuses = time.perf_counter(), []
    for _ in range(RETRIES):
        answer = client.post("/segment", json=body)
        statuses.append(answer.status_code)
        if answer.status_code != 429:
            break
        time.sleep(float(answer.headers["retry-after"]))
    return time.perf_counter() - start, statuses


def measure(address: str, process: psutil.Process, requests: int, clients: int) -> dict[str, Any]:
    """Figures of a number of requests from a number of clients."""
    memory, ended = [], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            memory.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    with httpx.Client(base_url=address, timeout=300) as client, ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda body: ask(client, body), bodies(requests)))
    seconds = time.perf_counter() - start
    ended.set()
    watcher.join()
    p50, p95 = np.percentile([taken for taken, _ in answers], (50, 95))
    middle = len(memory) // 2
    return {
        "requests": requests,
        "clients": clients,
        "requests_per_second": requests / seconds,
        "p50": p50,
        "p95": p95,
        "statuses": Counter(status for _, statuses in answers for status in statuses),
        "memory_at_half": memory[middle],
        "memory_at_end": memory[-1],
    }


def main(requests: int = 2000, clients: int = 16) -> dict[str, Any]:
    """Both ways of asking, beside the machine that they were seen on."""
    command = [Path(sys.executable).with_name("evf-sam"), "serve", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().split()[0]
    try:
        process = psutil.Process(server.pid)
        measure(address, process, PHOTOS, 1)  # all photos once, so that both find them encoded
        alone = measure(address, process, min(ALONE, requests), 1)
        together = measure(address, process, requests, clients)
    finally:
        server.terminate()
        server.wait(60)
    return {"machine": machine(torch.device("cpu")), "alone": alone, "together": together}


if __name__ == "__main__":
    target = Path(__file__).with_name("load.json")
    target.write_text(json.dumps(main(*map(int, sys.argv[1:])), indent=2) + "\n", encoding="utf-8")
    print(target)
