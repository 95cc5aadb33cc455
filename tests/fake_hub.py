"""A small Hub on loopback: it answers as the real one does for one file of a model."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def fake_hub(config, *, status=200, code="", stall_s=0.0):
    """Serve ``config`` as every model's config.json; yield (address, paths asked for).

    Args:
        config: the JSON to serve; None for a model without the file.
        status: of every answer.
        code: the error's name in the Hub's own header, such as ``GatedRepo``.
        stall_s: seconds before each answer.
    """
    body = json.dumps(config).encode()
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def answer(self):
            asked.append(self.path)
            time.sleep(stall_s)
            found = status == 200 and self.path.endswith("/config.json")
            self.send_response(status if status != 200 or found else 404)
            said = "EntryNotFound" if status == 200 and not found else code
            if said:
                self.send_header("X-Error-Code", said)
            self.send_header("ETag", '"fake"')
            self.send_header("X-Repo-Commit", COMMIT)
            content = body if found else b""
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.wfile.write(self.answer())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
