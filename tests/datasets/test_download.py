"""Downloads from a server on this machine: whole or not at all."""

import gc
import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mamlbench.datasets.download import Remote, fetch_file
from mamlbench.errors import UserError

# pooch leaves the socket of a refused answer to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CONTENT = b"drawings" * 1000


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # many users' networks need a proxy
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.zip").write_bytes(CONTENT)
    handler = partial(Silent, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()
    gc.collect()


def test_a_whole_file(server, tmp_path):
    remote = Remote(f"{server}/a.zip", f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    path = fetch_file(remote, tmp_path / "data" / "a.zip")
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.zip", "hash of downloaded file"), ("b.zip", "404 Client Error")],
)
def test_a_wrong_or_missing_file(server, tmp_path, name, reason):
    remote = Remote(f"{server}/{name}", f"md5:{'0' * 32}")
    path = tmp_path / "data" / "a.zip"
    with pytest.raises(UserError, match=reason) as caught:
        fetch_file(remote, path)
    assert str(caught.value).endswith(f"fetch {server}/{name} by hand and put it at {path}")
    assert "\n" not in str(caught.value)
    assert not list(path.parent.iterdir())


def test_no_network(tmp_path):
    path = tmp_path / "data" / "a.zip"
    remote = Remote("http://127.0.0.1:9/a.zip", f"md5:{'0' * 32}")
    with pytest.raises(UserError) as caught:
        fetch_file(remote, path)
    assert str(caught.value) == (
        f"{path}: missing, and the download failed (no answer from 127.0.0.1): "
        f"fetch http://127.0.0.1:9/a.zip by hand and put it at {path}"
    )
    assert not list(path.parent.iterdir())
