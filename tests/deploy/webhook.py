"""A webhook of Discord's on this machine: it keeps what is posted to it."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_DEADLINE_S = 30.0


class Webhook:
    """Listens while entered, at `url`; `next` waits for a post and returns its JSON."""

    def __init__(self) -> None:
        self._posts: queue.Queue[dict[str, Any]] = queue.Queue()
        posts = self._posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                posts.put({"path": self.path, **json.loads(self.rfile.read(length))})
                self.send_response(204)  # as Discord answers
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/webhooks/1/marked-secret"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next(self) -> dict[str, Any]:
        """Return what is posted next; queue.Empty if nothing is for long."""
        return self._posts.get(timeout=_DEADLINE_S)
