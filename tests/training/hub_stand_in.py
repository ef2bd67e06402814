"""A hub on this machine: the part of the Hugging Face hub's interface that one push and one download need.

It keeps the files of one commit a repository. What the real one answers beyond that (large files, quotas, its checks of
metadata) is not imitated.
"""

from __future__ import annotations

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
    """The server; ``repositories`` are the files by name, by repository."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.messages: list[str] = []
        self.tokens: set[str | None] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        self.server.tokens.add(self.headers.get("authorization"))
        body = self._body()
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            name = f"{json.loads(body)['organization']}/{json.loads(body)['name']}"
            self.server.repositories[name] = {}
            return self._json({"url": f"{self.server.address}/{name}", "name": name})
        name = "/".join(path.split("/")[3:5])
        if "/preupload/" in path:
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if "/commit/" in path:
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "header":
                    self.server.messages.append(entry["value"]["summary"])
                else:
                    self.server.repositories[name][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            return self._json({"commitOid": COMMIT, "commitUrl": f"{self.server.address}/{name}/commit/{COMMIT}"})
        return self._json({})

    def do_GET(self) -> None:
        self._give(with_body=True)

    def do_HEAD(self) -> None:
        self._give(with_body=False)

    def _give(self, with_body: bool) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        files = self.server.repositories.get(name)
        if files is None:
            return self._send(b"", 404, {"X-Error-Code": "RepoNotFound"})
        if parts[0] == "api" and "tree" in parts:
            sized = {path: (len(content), hashlib.sha1(content).hexdigest()) for path, content in files.items()}
            return self._json(
                [{"type": "file", "path": path, "size": size, "oid": oid} for path, (size, oid) in sized.items()]
            )
        if parts[0] == "api":
            siblings = [{"rfilename": each} for each in files]
            return self._json({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []})
        content = files["/".join(parts[4:])]
        tag = hashlib.sha256(content).hexdigest()
        return self._send(
            content if with_body else b"", 200, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}, len(content)
        )

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _json(self, content: object) -> None:
        self._send(json.dumps(content).encode(), 200, {"Content-Type": "application/json"})

    def _send(self, body: bytes, status: int, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
