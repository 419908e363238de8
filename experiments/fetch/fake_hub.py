"""A Hugging Face hub with one model or data set, on a port of this machine; for the tests."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

REPO = "owner/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _describe(name: str, content: bytes, sha256: dict[str, str]) -> dict:
    """A file as both a model's description and a listing of its folder show it."""
    blob = hashlib.sha1(content).hexdigest()
    file = {"type": "file", "path": name, "rfilename": name, "size": len(content)}
    file |= {"oid": blob, "blobId": blob}
    if name.endswith(".safetensors"):
        digest = sha256.get(name) or hashlib.sha256(content).hexdigest()
        size = len(content)
        file["lfs"] = {"oid": digest, "sha256": digest, "size": size, "pointerSize": 130}
    return file


@contextmanager
def fake_hub(files: dict[str, bytes], sha256: dict[str, str] | None = None) -> Iterator[dict]:
    """Gives {"url": ..., "served": names that were downloaded}. `sha256` overrides what it claims."""
    state = {"served": []}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = self.path.partition("?")[0]
            _, _, name = path.partition(f"/{REPO}/resolve/")
            _, _, name = name.partition("/")  # after the revision
            if path.startswith((f"/api/models/{REPO}", f"/api/datasets/{REPO}")):
                siblings = [_describe(name, body, sha256 or {}) for name, body in files.items()]
                model = {"id": REPO, "sha": COMMIT, "siblings": siblings}
                self.reply(json.dumps(siblings if "/tree/" in path else model).encode())
            elif name in files:
                if self.command == "GET":
                    state["served"].append(name)
                self.reply(files[name])
            else:
                self.send_error(404)

        def reply(self, content: bytes):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state | {"url": f"http://127.0.0.1:{server.server_port}"}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
