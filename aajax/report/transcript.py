"""A self-contained HTML page of match transcripts.

Its script draws the selected match from JSON in the page. Texts of a match are inserted
as text nodes only, and the content security policy allows only the page's own script,
by its hash.
"""

import base64
import codecs
import hashlib
import html
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from aajax.errors import InputError

SCRIPTS = ("elements", "chart", "match", "list")  # in this order
SATURATED = 0.99  # quantile of sizes from which on colours are at their strongest
_TOKENS = ("prompt", "ids", "log_prob", "state", "remaining")


def page(
    matches: Sequence[Mapping],
    title: str = "matches",
    token_bytes: Callable[[int], bytes | None] | None = None,
    markers: Mapping[int, str] | None = None,
) -> str:
    """The page, as HTML.

    A credit c, advantage A or log-probability colours the tokens of an answer; all
    tokens of a seat in a round have the round's c and A.

    Args:
      matches: records, as JSON has them, of `aajax.dialogue.play.matches`, each with or
        without the "iteration" that it was played in, and "member" being the name of
        the member of a population that played it. [T rounds][N seats] of rewards, in
        raw points, and S steps, a multiple of T.
      title: what the matches are of.
      token_bytes: the bytes that a token adds to a text, None where it adds none.
        Without it answers are coloured as a whole.
      markers: spelling by id of tokens that add no text.

    Raises:
      InputError: if there is no match, or for a record that is no match.
    """
    if not matches:
        raise InputError("matches is empty: at least one match is needed")
    index, blocks = [], []
    for place, match in enumerate(matches):
        try:
            index.append(summary_of(match))
            rounds = rounds_of(match, token_bytes, markers or {})
        except InputError:
            raise
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise InputError(
                f"matches has record {place}: a match is needed ({error!r})"
            ) from error
        blocks.append(_block(f"match-{place}", rounds))
    limits = {
        name: _limit(x for match in matches for x in _flat(match.get(f"{name}s")))
        for name in ("credit", "advantage")
    }
    script = "\n".join(_resource(f"transcript_{name}.js") for name in SCRIPTS)
    style = _resource("transcript.css")
    parts = {
        "TITLE": html.escape(title),
        "POLICY": f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}",  # noqa: E501
        "STYLE": f"<style>{style}</style>",
        "DATA": "\n".join([_block("index", {"matches": index, "limits": limits}), *blocks]),  # noqa: E501
        "SCRIPT": f"<script>{script}</script>",
    }  # fmt: skip
    frame = _resource("transcript.html")
    return re.sub("<!--([A-Z]+)-->", lambda found: parts[found[1]], frame)


def summary_of(match: Mapping) -> dict:
    """What the list shows of a match."""
    answers = [turn for seat in match["turns"] for turn in seat if turn["tries"] > 0]
    num_seats = len(match["players"])
    rewards = _rewards(match)
    totals = [sum(row[i] for row in rewards) for i in range(num_seats)]
    return {
        "game": match["game"],
        "number": match["number"],
        "iteration": match.get("iteration"),
        "member": name if isinstance(name := match.get("member"), str) else None,
        "group": match["group"],
        # World seeds are what earlier versions called them.
        "seed": match["env_seed" if "env_seed" in match else "world_seed"],
        "players": match["players"],
        "adapters": match["adapters"],
        "trained": match["trained"],
        "totals": _numbers(totals),
        "invalid": sum(not turn["valid"] for turn in answers),
        "retried": sum(turn["tries"] > 1 for turn in answers),
        "tokens": sum(turn["tokens"] is not None for turn in answers),
    }


def rounds_of(match: Mapping, token_bytes: Callable | None, markers: Mapping) -> list:
    """[T] of what was dealt, said and earned."""
    turns, rewards = match["turns"], _rewards(match)
    num_steps = len(turns[0])
    per_round, rest = divmod(num_steps, max(len(rewards), 1))
    if rest or any(len(seat) != num_steps for seat in turns) or not rewards:
        raise InputError(
            f"match {match['number']} has {[len(seat) for seat in turns]} turns: the "
            f"same multiple of its {len(rewards)} rounds is needed for every seat"
        )
    rounds = []
    for t, reward in enumerate(rewards):
        steps = range(t * per_round, (t + 1) * per_round)
        facts = match["facts"][t] if match["facts"] else {}
        of_round: dict[str, Any] = {"facts": facts}
        of_round["reward"] = _numbers(reward)
        for name in ("credit", "advantage"):
            rows = match.get(f"{name}s")
            of_round[name] = None if rows is None else _numbers(rows[t])
        of_round["steps"] = [
            [
                _cell(seat[step], match["actions"][step][i], token_bytes, markers)
                for i, seat in enumerate(turns)
            ]
            for step in steps
        ]
        rounds.append(of_round)
    return rounds


def _rewards(match: Mapping) -> list[list[float]]:
    """[T][N], with NaN in the place of null."""
    return [[math.nan if x is None else x for x in row] for row in match["rewards"]]


def _cell(
    turn: Mapping, action: object, token_bytes: Callable | None, markers: Mapping
) -> dict:
    """What one seat was told at one step, and what it answered."""
    cell = {"told": turn["text"]}
    if turn["kind"] is None:
        return cell
    cell |= {name: turn[name] for name in ("kind", "answer", "valid", "tries")}
    cell["action"] = action
    if turn["tokens"] is None:
        return cell
    tokens = turn["tokens"]
    if not isinstance(tokens, Mapping):
        tokens = dict(zip(_TOKENS, tokens, strict=True))
    cell["read"] = len(tokens["prompt"])
    cell["ids"] = tokens["ids"]
    cell["log_prob"] = _numbers(tokens["log_prob"])
    if token_bytes is None:
        return cell
    pieces = _pieces(tokens["ids"], token_bytes)
    if "".join(pieces) == turn["answer"]:  # else the tokens are of another tokenizer
        cell["texts"] = pieces
        cell["markers"] = {
            place: markers.get(token, "")
            for place, token in enumerate(tokens["ids"])
            if token_bytes(token) is None
        }
    return cell


def _pieces(ids: Sequence[int], token_bytes: Callable) -> list[str]:
    """The text of each token; a character of several tokens belongs to its last one."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    last = len(ids) - 1
    return [
        decoder.decode(token_bytes(token) or b"", final=place == last)
        for place, token in enumerate(ids)
    ]


def _limit(numbers: Iterable[float | None]) -> float | None:
    """From which size on colours are at their strongest; None without a number."""
    sizes = [abs(x) for x in numbers if x is not None and math.isfinite(x)]
    if not sizes:
        return None
    return float(np.quantile(sizes, SATURATED)) or max(sizes)


def _flat(rows: Sequence[Sequence] | None) -> Iterable[float | None]:
    return (x for row in rows or () for x in row)


def _numbers(row: Sequence[float | None]) -> list:
    """Six digits are enough to read; JSON has no infinity and no NaN."""
    return [
        x if x is None else float(f"{x:.6g}") if math.isfinite(x) else str(x)
        for x in row
    ]


def _block(name: str, value: object) -> str:
    """JSON in the page; without "<" no text ends the block early."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _resource(name: str) -> str:
    return (files("aajax.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
