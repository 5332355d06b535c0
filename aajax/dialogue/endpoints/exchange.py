"""An HTTP client with one deadline for each request and its complete response.

The deadline covers name resolution, connecting, sending and receiving. Connections are
reused. Redirects are not followed, since they would send the API key elsewhere.
"""

import asyncio
import contextlib
import ssl
import threading
import weakref
from collections.abc import AsyncGenerator
from typing import NamedTuple, cast

import httpx

from aajax.dialogue.endpoints.completions import MOST_OF_ANSWER
from aajax.errors import InputError

MOST_OF_ERROR = 64 << 10  # bytes of a body that are read where it is an error's


class Response(NamedTuple):
    """An HTTP response.

    Attributes:
      status: of HTTP.
      retry_after: the header of this name; None where there is none.
      body: that was read.
      is_whole: whether that is all of it.
    """

    status: int
    retry_after: str | None
    body: bytes
    is_whole: bool

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class ExchangeError(Exception):
    """A request without a response.

    Attributes:
      reason: in words, with what the library says, which a server may have written.
      was_sent: whether the request may have been received.
      passes: whether the next one may be answered.
    """

    def __init__(self, reason: str, was_sent: bool, passes: bool):
        super().__init__(reason)
        self.reason, self.was_sent, self.passes = reason, was_sent, passes


class Client:
    """A thread-safe client that posts to one URL.

    Requests are tasks of an event loop in a background thread, where the deadline
    cancels a task whatever it waits for. Thread and connections end with the client.
    """

    def __init__(self, url: str, headers: dict[str, str], most_at_once: int):
        """A client; nothing is sent yet.

        Args:
          url: where to.
          headers: of every request.
          most_at_once: connections that are kept.

        Raises:
          InputError: if what the environment says of proxies or certificates is wrong.
        """
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=most_at_once
        )
        try:
            self._http = httpx.AsyncClient(
                # Of what is compressed nobody knows how long it is.
                headers={"Accept-Encoding": "identity", **headers},
                limits=limits,
                event_hooks={"response": [_stay]},
            )
        except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            reason = None
        if reason is not None:
            raise InputError(
                f"environment has no usable HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, "
                f"NO_PROXY or SSL_CERT_FILE: {reason}"
            )
        self.url = url
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run, args=(self._loop,), daemon=True)
        thread.start()
        self.close = weakref.finalize(self, _close, self._loop, self._http, thread)

    def post(self, body: bytes, timeout: float) -> Response:
        """The response to a request.

        Args:
          body: of the request.
          timeout: seconds for the whole exchange.

        Raises:
          ExchangeError: if there is none.
        """
        exchange = _exchange(self._http, self.url, body, timeout)
        return asyncio.run_coroutine_threadsafe(exchange, self._loop).result()


async def _exchange(
    http: httpx.AsyncClient, url: str, body: bytes, timeout: float
) -> Response:
    head: httpx.Response | None = None
    parts: list[bytes] = []
    was_sent = False

    async def trace(event: str, info: dict) -> None:
        nonlocal was_sent
        was_sent |= event.endswith("send_request_headers.started")

    # A handshake that the deadline cancels would leave its socket open.
    connecting = timeout / 2
    try:
        async with asyncio.timeout(timeout):
            async with http.stream(
                "POST",
                url,
                content=body,
                extensions={"trace": trace},
                timeout=httpx.Timeout(None, connect=connecting),
            ) as head:
                is_whole = await _read(head, parts)
            return _response(head, parts, is_whole)
    except httpx.ConnectTimeout:
        reason = f"no connection within {connecting:g} s"
        failure = ExchangeError(reason, was_sent, True)
    except TimeoutError:
        failure = ExchangeError(f"no answer within {timeout:g} s", was_sent, True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        cause = _root(error)
        refused = isinstance(cause, ssl.SSLCertVerificationError | UnicodeError)
        reason = f"{type(cause).__name__}: {cause}"
        failure = ExchangeError(reason, was_sent, not refused)
    # What its status says is known, even where its words broke off.
    if head is not None and not head.is_success:
        return _response(head, parts, False)
    raise failure


def _response(head: httpx.Response, parts: list[bytes], is_whole: bool) -> Response:
    retry_after = head.headers.get("Retry-After")
    return Response(head.status_code, retry_after, b"".join(parts), is_whole)


def _chunks(head: httpx.Response) -> AsyncGenerator[bytes, None]:
    """What comes, as it comes; httpx promises less than the generator that it gives."""
    return cast(AsyncGenerator[bytes, None], head.aiter_raw())


async def _read(head: httpx.Response, parts: list[bytes]) -> bool:
    """Adds the body to the parts, up to a limit; whether that is all of it."""
    left = MOST_OF_ANSWER if head.is_success else MOST_OF_ERROR
    async with contextlib.aclosing(_chunks(head)) as stream:
        async for part in stream:
            parts.append(part[:left])
            if len(part) > left:
                return False
            left -= len(part)
    return True


async def _stay(response: httpx.Response) -> None:
    """Takes from a response where it redirects to, which the library would look at."""
    response.headers.pop("Location", None)


def _root(error: BaseException) -> BaseException:
    """What an error goes back to; of several attempts, the first one's."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        # The library raises some "from None" what came of something else.
        elif earlier := error.__cause__ or error.__context__:
            error = earlier
        else:
            return error


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _close(
    loop: asyncio.AbstractEventLoop, http: httpx.AsyncClient, thread: threading.Thread
) -> None:
    async def close() -> None:
        await http.aclose()
        loop.stop()

    asyncio.run_coroutine_threadsafe(close(), loop)
    # What is thrown away may be so in any thread: in that of the loop, which cannot
    # wait for itself, or of another client's, whose exchanges would stand still.
    if not (_is_in_loop() or threading.current_thread() is thread):
        thread.join(timeout=1.0)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
