"""Figures of sweeps."""

import pytest

from aajax.report.sweeps import _names


def settings(*each):
    return [{"hyperparameters": one} for one in each]


@pytest.mark.parametrize(
    ("each", "varied", "fixed"),
    [
        ([{"past": "strict", "beta": 1.0}], ["past", "beta"], []),
        (
            [{"past": x, "beta": 1.0, "gamma": g} for x in "ab" for g in (0.5, 0.9)],
            ["past", "gamma"],
            ["beta"],
        ),
        ([{"beta": 1.0, "past": x} for x in "ab"], ["past"], ["beta"]),
    ],
)
def test_what_all_settings_share_has_no_panels(each, varied, fixed):
    assert _names(settings(*each)) == (varied, fixed)
