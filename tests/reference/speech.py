"""What each round of a match on disk was worth, and which tokens are paid for it."""

import gzip
import json

import numpy as np
from reference import alignment, returns


def read(file):
    """The records of a file of matches, as dictionaries."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def own_returns(record, seat, discount, scale, shared=False):
    """Σ_{l≥t} γ^(l−t) r_l / c of one seat; of both seats' rewards if shared."""
    reward = [sum(row) if shared else row[seat] for row in record["rewards"]]
    reward = [r / scale for r in reward]
    return returns.discounted_returns(reward, [discount] * len(reward))


def advantages(records, discount, scale, baseline, shared=False):
    """[match][round, seat]: the return minus the mean of the others it compares with.

    Those are the matches of its group ("group"), or all ("batch"), in which the same
    seat is trained if it is in this one, and not if not.
    """
    result = []
    for m, record in enumerate(records):
        columns = []
        for seat in range(len(record["players"])):
            others = [
                own_returns(other, seat, discount, scale, shared)
                for n, other in enumerate(records)
                if n != m
                and (baseline == "batch" or other["group"] == record["group"])
                and other["trained"][seat] == record["trained"][seat]
            ]
            own = own_returns(record, seat, discount, scale, shared)
            columns.append(own - np.mean(others, 0) if others else 0 * own)
        result.append(np.stack(columns, 1))
    return result


def gae(record, seat, value, discount, lambda_, scale, shared=False):
    """Generalised advantages of one seat whose rounds have these values."""
    reward = [sum(row) if shared else row[seat] for row in record["rewards"]]
    reward = [r / scale for r in reward]
    discounts = [discount] * (len(reward) - 1) + [0.0]
    return returns.gae(reward, discounts, [*value, 0.0], lambda_)


def credits(advantage, algorithm, gamma, beta, past):
    """[round, seat] from advantages [round, seat]."""
    if algorithm == "advantage_alignment":
        return alignment.alignment_credit(advantage, gamma, beta, past)
    return advantage


def paid_tokens(record, credit):
    """(seat, token, credit) of every sampled token of the trained seats, in order."""
    paid = []
    num_rounds = len(record["rewards"])
    for seat, turns in enumerate(record["turns"]):
        if not record["trained"][seat]:
            continue
        per_round = len(turns) // num_rounds
        for turn in turns:
            if turn["tokens"] is not None:
                # A list, as the names are not written down: ids come second.
                for token in turn["tokens"][1]:
                    paid.append((seat, token, credit[turn["step"] // per_round, seat]))
    return paid
