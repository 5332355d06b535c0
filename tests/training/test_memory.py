"""Memory that a process does not need goes back to the system."""

import platform

import pytest

from aajax.bench.timing import resident_bytes
from aajax.training import memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc keeps it")
def test_what_is_free_between_what_is_used_is_given_back():
    blocks = [bytes(4000) for _ in range(25_000)]
    used = blocks[::50]
    del blocks
    before = resident_bytes()
    memory.give_back()
    after = resident_bytes()
    assert len(used) == 500
    assert before is not None and after is not None and after < before - 5e7


def test_a_library_that_has_no_such_function_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.give_back()
