"""Models of the Hugging Face Hub, from a server of the test's own."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from tiny_speech import tiny_folder

from aajax.errors import InputError
from aajax.lm.checkpoints.find import model_folder

COMMIT = hashlib.sha1(b"a commit").hexdigest()
NAME = "someone/tiny"


class Hub(ThreadingHTTPServer):
    """Answers as the Hub does for one model, whose files are those of a folder.

    Attributes:
      refused: status of every answer; None: it answers.
      cut: a file of which half is sent; None: all are sent whole.
      asked: paths that were asked for.
      tokens: what requests said of themselves.
    """

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Request)
        self.folder, self.refused, self.cut = folder, None, None
        self.asked, self.tokens = [], set()


class _Request(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.asked.append(path)
        hub.tokens.add(self.headers.get("authorization"))
        model, files = f"/api/models/{NAME}", f"/{NAME}/resolve/{COMMIT}/"
        if hub.refused is not None:
            self.send(b"", status=hub.refused)
        elif path in (model, f"{model}/revision/main"):
            self.send({"id": NAME, "sha": COMMIT, "siblings": []})
        elif path.startswith(f"{model}/tree/"):
            found = [(x.name, x.read_bytes()) for x in sorted(hub.folder.iterdir())]
            self.send([
                {"type": "file", "path": name, "size": len(data), "oid": digest(data)}
                for name, data in found
            ])  # fmt: skip
        elif path.startswith(files):
            name = path.removeprefix(files)
            self.send((hub.folder / name).read_bytes(), half=name == hub.cut)
        else:
            self.send(b"", status=404)

    def send(self, what, status=200, half=False):
        body = what if isinstance(what, bytes) else json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{digest(body)}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if half else body)


def digest(data):
    return hashlib.sha1(data).hexdigest()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tiny_folder(tmp_path_factory.mktemp("tiny"))
    (folder / "weights.bin").write_bytes(b"of no use")
    return folder


@pytest.fixture
def hub(model, tmp_path, monkeypatch):
    """A server with a tiny model; huggingface_hub asks it, and has an empty cache."""
    server = Hub(model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE",
        url + "/{repo_id}/resolve/{revision}/{filename}",
    )  # fmt: skip
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def found(tmp_path):
    """Finds the model; what its folder has."""

    def find():
        folder = model_folder(NAME, tmp_path / "converted")
        return {x.name: x.read_bytes() for x in folder.iterdir()}

    return find


def whole(hub):
    """What is read of the model's files."""
    files = {x.name: x.read_bytes() for x in hub.folder.iterdir()}
    del files["weights.bin"]
    return files


def test_what_is_read_is_downloaded_once(hub, found, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert found() == whole(hub)
    assert "Bearer hf_secret" in hub.tokens
    downloaded = [path for path in hub.asked if "/resolve/" in path]
    assert {path.rsplit("/")[-1] for path in downloaded} == set(whole(hub))
    hub.asked.clear()
    assert found() == whole(hub)
    assert not [path for path in hub.asked if "/resolve/" in path]
    for ended in (hub.shutdown, hub.server_close):
        ended()
    assert found() == whole(hub)  # without a network
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert found() == whole(hub)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_why_there_is_none_is_told_in_one_line(hub, found, status):
    hub.refused = status
    with pytest.raises(InputError, match=rf"model is '{NAME}': .*\(.*{status}") as told:
        found()
    assert len(str(told.value).splitlines()) == 1


def test_a_connection_that_breaks_off(hub, found, monkeypatch):
    """huggingface_hub tries again; what it raises then is its network library's."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hub.cut = "model.safetensors"
    with pytest.raises(InputError, match=f"model is '{NAME}': .*without sending comp"):
        found()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"is incomplete: 1 file.*model\.safetensors"):
        found()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.cut = None
    assert found() == whole(hub)
