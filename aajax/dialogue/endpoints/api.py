"""A player that is a model behind an OpenAI-compatible endpoint.

All requests of a step are sent concurrently, up to `ApiConfig.concurrency`. A malformed
answer is asked for again, with a reminder of the form; only the last answer stays in
the conversation, as if it had been the first.
"""

import dataclasses
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import NamedTuple

import jax
import numpy as np

from aajax.dialogue.endpoints.api_config import ApiConfig
from aajax.dialogue.endpoints.budget import Budget, HaltedError
from aajax.dialogue.endpoints.completions import payload
from aajax.dialogue.endpoints.endpoint import Ask, connect
from aajax.dialogue.endpoints.journal import Journal, Place, digest
from aajax.dialogue.players.base import Reply, Request, Row
from aajax.envs.text import trimmed
from aajax.lm.sampling.grammar import matches
from aajax.types import PRNGKey

Messages = tuple[tuple[str, str], ...]  # (role, text) each, of users and assistants


class Dialogue(NamedTuple):
    """The conversation of a row.

    Attributes:
      row: the seat and match.
      step: index of the next step.
      messages: alternating messages of user and assistant.
    """

    row: Row
    step: int
    messages: Messages


@dataclasses.dataclass(frozen=True, eq=False)
class ApiPlayer:
    """A `Player`, made by `api_player`; it remembers a `Dialogue` for each row.

    Consecutive prompts without an answer in between are joined with blank lines to one
    message, so that user and assistant alternate, which all endpoints accept.

    Attributes:
      config: of the endpoint.
      ask: `(messages, halt) -> Completion`, of `endpoint.connect`.
      journal: of answers; None for none.
    """

    config: ApiConfig
    ask: Ask
    journal: Journal | None = None

    def start(self, rows: Sequence[Row]) -> tuple[Dialogue, ...]:
        return tuple(Dialogue(row, 0, ()) for row in rows)

    def reply(
        self, memory: Sequence[Dialogue], requests: Sequence[Request], keys: PRNGKey
    ) -> tuple[tuple[Dialogue, ...], list[Reply | None]]:
        """As in `Player`; keys tell equal questions of different plays apart.

        Raises:
          EndpointError: if the endpoint gives no answer. Requests in flight are still
            awaited and journalled, but no others are sent.
          InputError: if the budget is exceeded, or a pattern is not a regular
            expression.
        """
        told = [
            dialogue._replace(messages=_tell(dialogue.messages, request.text))
            for dialogue, request in zip(memory, requests, strict=True)
        ]
        asked = [i for i, request in enumerate(requests) if request.kind is not None]
        # Before anything is paid for, and not in each of the threads.
        for pattern in {requests[i].answers for i in asked}:
            matches(pattern, b"")
        chances = np.asarray(jax.random.key_data(keys)).tolist()

        def job(i: int) -> Callable[[threading.Event], Reply]:
            return lambda halt: self._answer(
                told[i], requests[i].answers, chances[i], halt
            )

        answers = _all_at_once([job(i) for i in asked], self.config.concurrency)
        replies: list[Reply | None] = [None] * len(requests)
        for i, reply in zip(asked, answers, strict=True):
            replies[i] = reply
            if reply.text:
                said = (*told[i].messages, ("assistant", reply.text))
                told[i] = told[i]._replace(messages=said)
        return tuple(d._replace(step=d.step + 1) for d in told), replies

    def _answer(
        self, dialogue: Dialogue, pattern: str, chance: list, halt: threading.Event
    ) -> Reply:
        messages, text, attempt = dialogue.messages, "", 0
        for attempt in range(self.config.tries):
            place = Place(dialogue.row.match, dialogue.row.seat, dialogue.step, attempt)
            text = self._text(place, messages, chance, halt)
            if matches(pattern, trimmed(text).encode()):
                break
            messages = _tell(messages, reminder(pattern))
        return Reply(text, attempt + 1)

    def _text(
        self, place: Place, messages: Messages, chance: list, halt: threading.Event
    ) -> str:
        """One answer: that of the journal if it has one, else the endpoint's."""
        sent = [{"role": role, "content": text} for role, text in messages]
        if self.journal is None:
            return self.ask(sent, halt).text
        question = digest([self.config.url, payload(self.config, sent), chance])
        known = self.journal.find(place, question)
        if known is not None:
            return known["text"]
        completion = self.ask(sent, halt)
        self.journal.add(
            place,
            question,
            {
                "text": completion.text,
                "reasoning": completion.reasoning,
                "finish": completion.finish,
            },
            {"model": self.config.model, "told": sent[-1]["content"]},
        )
        return completion.text


def api_player(config: ApiConfig, journal: Journal | None = None) -> ApiPlayer:
    """A player behind an endpoint.

    The cost of all requests in the journal, failed ones included, counts against the
    budget of `config`, so that the budget covers an evaluation or run however often it
    is resumed.

    Args:
      config: of the endpoint.
      journal: of the evaluation or run, from which answers are replayed on resumption;
        None for no journal.

    Raises:
      InputError: if the environment variable of the key is not set.
    """
    budget = Budget(config.max_requests, config.max_total_tokens, journal)
    return ApiPlayer(config, connect(config, budget), journal)


def reminder(pattern: str) -> str:
    """The message after a malformed answer, which describes the form that is needed."""
    return (
        "Your last answer was not of the form that is needed, and was not counted. "
        "Answer again, with nothing but a text that matches this regular expression "
        f"as a whole:\n{pattern}"
    )


def _tell(messages: Messages, text: str) -> Messages:
    """The messages after a user's text, which may be nothing."""
    if not text:
        return messages
    if messages and messages[-1][0] == "user":
        text = f"{messages[-1][1]}\n\n{text}"
        messages = messages[:-1]
    return (*messages, ("user", text))


def _all_at_once(
    jobs: Sequence[Callable[[threading.Event], Reply]], concurrency: int
) -> list[Reply]:
    """The results of all jobs, or the first error, after which no more are begun."""
    if not jobs:
        return []
    halt = threading.Event()

    def run(job: Callable[[threading.Event], Reply]) -> Reply:
        try:
            return job(halt)
        except BaseException:
            halt.set()
            raise

    with ThreadPoolExecutor(min(concurrency, len(jobs))) as pool:
        try:
            # An interrupt may come while they are handed in, too.
            futures = [pool.submit(run, job) for job in jobs]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            halt.set()
            pool.shutdown(cancel_futures=True)
    ended = [future for future in futures if not future.cancelled()]
    errors = [error for future in ended if (error := future.exception())]
    for error in errors:
        if not isinstance(error, HaltedError):
            raise error
    return [future.result() for future in futures]
