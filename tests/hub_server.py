"""A small Hub on 127.0.0.1: the routes by which models are looked up and downloaded, and a list of what was asked."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest

COMMITS = {"main": "a" * 40, "refs/pr/1": "b" * 40}


class Hub:
    """Repositories: their name, and for each revision a folder of files.

    Attributes:
        url: for HF_ENDPOINT.
        downloads: names of the files that were fetched, with their revision where it is not main.
        author: who opened the pull request.
    """

    def __init__(self, repositories: dict[str, dict[str, Path]]):
        self.repositories = repositories
        self.downloads: list[str] = []
        self.author = "SFconvertbot"
        self.url = ""

    def answer(self, path: str, fetch: bool) -> tuple[int, bytes, dict[str, str]]:
        """Status, content and headers for a path."""
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        api = parts[:2] == ["api", "models"]
        name, rest = "/".join(parts[2:4] if api else parts[:2]), parts[4:] if api else parts[2:]
        revisions = self.repositories.get(name)
        if revisions is None:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
        if api:
            return self._describe(name, revisions, rest)
        _, revision, *file = rest
        return self._file(revisions, revision, "/".join(file), fetch)

    def _file(
        self, revisions: dict[str, Path], revision: str, file: str, fetch: bool
    ) -> tuple[int, bytes, dict[str, str]]:
        branch = next((name for name, commit in COMMITS.items() if revision in (name, commit)), None)
        if branch not in revisions:
            return 404, b"", {"X-Error-Code": "RevisionNotFound"}
        path = revisions[branch] / file
        commit = {"X-Repo-Commit": COMMITS[branch]}
        if not path.is_file():
            return 404, b"", {"X-Error-Code": "EntryNotFound", **commit}
        if fetch:
            self.downloads.append(file if branch == "main" else f"{branch}:{file}")
        content = path.read_bytes()
        return 200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', **commit}

    def _describe(self, name: str, revisions: dict[str, Path], rest: list[str]) -> tuple[int, bytes, dict[str, str]]:
        what, *revision = rest or ["revision"]
        branch = "/".join(revision) or "main"
        branch = next((known for known, commit in COMMITS.items() if branch in (known, commit)), branch)
        if what == "discussions":
            requests = self._requests(name, revisions)
            return self._json({"discussions": requests, "count": len(requests), "start": 0})
        if branch not in revisions:
            known = revision and revision[0] in revisions  # or its commit; then it is a folder in there
            return 404, b"{}", {"X-Error-Code": "EntryNotFound" if known else "RevisionNotFound"}
        files = sorted(path for path in revisions[branch].iterdir() if path.is_file())
        if what == "commits":
            return self._json([_commit(COMMITS[known]) for known in dict.fromkeys([branch, "main"])])
        if what == "tree":
            return self._json([_entry(path) for path in files])
        siblings = [{"rfilename": path.name} for path in files]
        return self._json({"id": name, "sha": COMMITS[branch], "private": False, "siblings": siblings, "tags": []})

    def _requests(self, name: str, revisions: dict[str, Path]) -> list[dict[str, Any]]:
        request = {
            "title": "Adding `safetensors` variant of this model",
            "status": "open",
            "num": 1,
            "repo": {"name": name, "type": "model"},
            "createdAt": "2024-07-01T00:00:00.000Z",
            "author": {"name": self.author},
            "isPullRequest": True,
        }
        return [request] if "refs/pr/1" in revisions else []

    @staticmethod
    def _json(values: Any) -> tuple[int, bytes, dict[str, str]]:
        return 200, json.dumps(values).encode(), {"Content-Type": "application/json"}


def _commit(number: str) -> dict[str, Any]:
    return {"id": number, "title": "", "message": "", "authors": [], "date": "2024-07-01T00:00:00.000Z"}


def _entry(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"type": "file", "path": path.name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Answers until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._send(fetch=False)

        def do_GET(self) -> None:
            self._send(fetch=True)

        def _send(self, fetch: bool) -> None:
            status, content, headers = hub.answer(self.path, fetch)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if fetch:
                self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Let the libraries of this process ask the Hub at `url`, with an empty cache of their own."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {"ENDPOINT": url, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", url)
