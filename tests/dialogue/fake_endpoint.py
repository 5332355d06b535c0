"""An endpoint for chat completions on this machine, which fails as it is told."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(text, tokens=10, **message):
    """A response that says `text`."""
    message = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"total_tokens": tokens}
    return status(200, {"choices": [choice], "usage": usage})


def status(code, body=b"", **headers):
    """A response with headers such as `Retry_After`."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def respond(handler):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return respond


def cut(handler):
    """Promises more than comes."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"mess')
    handler.close_connection = True


def drop(handler):
    """Hangs up without a word."""
    handler.close_connection = True


def hang(handler):
    """Says nothing until the test is over."""
    handler.server.endpoint.over.wait(10)
    handler.close_connection = True


def drip(before, drop, after=b""):
    """Writes what comes before at once, and then one drop after the other.

    Whoever waits to the end, 10 seconds later, gets what comes after.
    """

    def respond(handler):
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(before)
            for _ in range(500):
                if handler.server.endpoint.over.wait(0.02):
                    return
                handler.wfile.write(drop)
            handler.wfile.write(after)

    return respond


def flood(code, size):
    """A response of so many bytes, or as many of them as anybody wants."""

    def respond(handler):
        handler.close_connection = True
        handler.send_response(code)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(size >> 16):
                handler.wfile.write(b" " * (1 << 16))
                handler.server.endpoint.written += 1 << 16
            handler.wfile.write(b" " * (size % (1 << 16)))

    return respond


class FakeEndpoint:
    """What was asked of it, and how it answers.

    Attributes:
      behave: `(number of the request, its JSON) -> response`.
      requests: JSON of all of them so far.
      headers: of the last.
      most_at_once: requests under way at any time.
      pause: seconds that each takes.
      connections: that were made.
      written: bytes of floods.
    """

    def __init__(self, behave):
        self.behave, self.requests, self.headers = behave, [], None
        self.most_at_once, self.pause, self.over = 0, 0.0, threading.Event()
        self.connections, self.written = 0, 0
        self._under_way, self._lock = 0, threading.Lock()

    def handle(self, handler):
        size = int(handler.headers["Content-Length"])
        request = json.loads(handler.rfile.read(size))
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            self.headers = {"path": handler.path, **handler.headers}
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            self.over.wait(self.pause)
            respond = self.behave(number, request)
        finally:
            with self._lock:
                self._under_way -= 1
        with contextlib.suppress(ConnectionError):
            respond(handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay

    def setup(self):
        super().setup()
        self.server.endpoint.connections += 1

    def do_POST(self):  # noqa: N802, the library's name
        self.server.endpoint.handle(self)

    def log_message(self, *message):
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 64


@contextlib.contextmanager
def serving(behave):
    """A `FakeEndpoint` and its url."""
    endpoint = FakeEndpoint(behave)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.endpoint = endpoint
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield endpoint, f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        endpoint.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
