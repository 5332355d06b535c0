"""Declarations on the fields of dataclasses: what they refuse, and in which words."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from tyro.conf import arg

from aajax import records, schema
from aajax.errors import InputError
from aajax.schema import Count, Items, Positive, Range, Seed, Share, check


@dataclasses.dataclass(frozen=True)
class Part:
    size: Count = 1
    share: Share = 0.5

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class Whole:
    rate: Positive
    count: Count = 1
    number: float = 0.0
    limit: Annotated[float | None, Range(0, above=True)] = None
    bound: Annotated[float, Range(0, infinite=True)] = math.inf
    least: Annotated[float, Range(0)] = 0.0
    kind: Literal["a", "b"] = "a"
    sizes: Annotated[tuple[int, ...], Range(1), Items(1, distinct=True)] = (1,)
    pair: tuple[int, str] = (1, "x")
    flag: bool = False
    text: str = ""
    path: Path | None = None
    seed: Seed = 0
    part: Part = Part()
    flat: Annotated[Part, arg(name="")] = Part()

    __post_init__ = check

    def check_relations(self):
        if self.flag and self.count > 5:
            raise InputError(f"count is {self.count}: at most 5 is needed with flag")


BAD = [
    ({"rate": 0.0}, "rate is 0.0: a number above 0 is needed"),
    ({"rate": math.inf}, "rate is inf: a number above 0 is needed"),
    ({"rate": "1"}, "rate is '1': a number above 0 is needed"),
    ({"rate": True}, "rate is True: a number above 0 is needed"),
    ({"count": 0}, "count is 0: at least 1 is needed"),
    ({"count": 1.5}, "count is 1.5: a whole number of at least 1 is needed"),
    ({"count": True}, "count is True: a whole number of at least 1 is needed"),
    ({"count": 10**20}, f"count is {10**20}: at most 2147483647 is needed"),
    ({"count": None}, "count is None: a whole number of at least 1 is needed"),
    ({"number": math.nan}, "number is nan: a finite number is needed"),
    (
        {"number": -1e39},
        "number is -1e+39: a number of float32, of at most 3.4e+38, is needed",
    ),
    ({"number": 10**400}, f"number is 1{'0' * 96}...: a finite number is needed"),
    ({"limit": -0.5}, "limit is -0.5: a number above 0 is needed"),
    ({"bound": math.nan}, "bound is nan: a number of at least 0 is needed"),
    ({"least": -1.0}, "least is -1.0: a number of at least 0 is needed"),
    ({"least": math.inf}, "least is inf: a number of at least 0 is needed"),
    ({"kind": "c"}, "kind is 'c': one of a, b is needed"),
    ({"sizes": ()}, "sizes is (): at least 1 value is needed"),
    ({"sizes": (0,)}, "sizes has 0: at least 1 is needed"),
    ({"sizes": (2, 2)}, "sizes has 2 twice: once is needed"),
    ({"sizes": 3}, "sizes is 3: a tuple (in JSON, a list) is needed"),
    ({"pair": (1,)}, "pair is (1,): 2 values are needed"),
    ({"pair": (1, 2)}, "pair has 2: a text is needed"),
    ({"flag": 1}, "flag is 1: true or false is needed"),
    ({"text": None}, "text is None: a text is needed"),
    ({"path": 3}, "path is 3: a path is needed"),
    ({"seed": -1}, "seed is -1: a whole number in [0, 2^32) is needed"),
    ({"seed": 2**32}, f"seed is {2**32}: a whole number in [0, 2^32) is needed"),
    ({"part": 3}, "part is 3: an object is needed"),
    ({"flag": True, "count": 6}, "count is 6: at most 5 is needed with flag"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_what_a_field_does_not_accept(changes, message):
    with pytest.raises(InputError) as error:
        Whole(**{"rate": 1.0} | changes)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("changes", "message"), [row for row in BAD if "sizes" not in row[0]]
)
def test_the_same_from_a_record(changes, message):
    record = {"rate": 1.0, **changes}
    with pytest.raises(InputError) as error:
        schema.build(Whole, record, "whole.")
    assert str(error.value) == f"whole.{message}"


def test_numbers_of_other_kinds_are_numbers():
    whole = Whole(1, count=np.int64(3), number=np.float32(0.5), bound=2, seed=2**32 - 1)
    assert (whole.rate, whole.count, whole.bound) == (1, 3, 2)
    assert dataclasses.replace(whole, count=4).count == 4


def test_a_record_is_read_back():
    whole = Whole(
        2.0, 3, -1.0, 5.0, 7.0, 1.0, "b", (4, 5), (2, "y"), True, "text", Path("a/b"),
        9, Part(2, 0.25), Part(3, 1.0),
    )  # fmt: skip
    text = json.dumps(dataclasses.asdict(whole), default=str)
    read = schema.build(Whole, json.loads(text))
    assert read == whole
    assert hash(read) == hash(whole)
    assert schema.build(Whole, {"rate": 1}) == Whole(1.0)
    numbers = schema.build(Whole, {"rate": 1, "count": 2.0})
    assert (type(numbers.rate), type(numbers.count)) == (float, int)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([], "config is []: an object is needed"),
        ({}, "config.rate is missing: a number above 0 is needed"),
        ({"rate": 1, "part": []}, "config.part is []: an object is needed"),
        (
            {"rate": 1, "part": {"size": 0}},
            "config.part.size is 0: at least 1 is needed",
        ),
        (
            {"rate": 1, "flat": {"share": 2}},
            "config.flat.share is 2.0: a number in",
        ),
        (
            {"rate": 1, "more": 1},
            "config.more is 1: there is no such key, only rate",
        ),
        (
            {"rate": 1, "part": {"more": None}},
            "config.part.more is None: there is no such key, only size, share",
        ),
        ({"rate": 1, "sizes": {}}, "config.sizes is {}: a tuple (in JSON, a list)"),
        ({"rate": 1, "pair": [1, "x", 2]}, "config.pair is (1, 'x', 2): 2 values are"),
    ],
)
def test_records_that_do_not_fit(record, message):
    with pytest.raises(InputError) as error:
        schema.build(Whole, record, "config.")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_other_keys_may_be_left_out():
    record = {"rate": 1, "more": 1, "part": {"more": 2, "size": 3}}
    assert schema.build(Whole, record, others=True) == Whole(1.0, part=Part(3))


def test_parts_can_be_put_together_unchecked():
    with schema.deferred():
        whole = Whole(1.0, part=Part(size=0), flat=Part(share=2.0))
    with pytest.raises(InputError, match=r"^part\.size is 0: "):
        schema.check_all(whole)
    with schema.deferred():
        whole = Whole(1.0, flat=Part(share=2.0))
    with pytest.raises(InputError, match=r"^flat\.share is 2\.0: "):
        schema.check_all(whole)
    with pytest.raises(InputError, match=r"^share is 2\.0: "):
        schema.check_all(whole, flat=True)


def test_options_by_name():
    found = {option.name: option.default for option in schema.options(Whole)}
    assert list(found)[-4:] == ["part.size", "part.share", "size", "share"]
    assert found["rate"] is dataclasses.MISSING
    given = schema.options(Whole, Whole(2.0, part=Part(7)))
    assert {option.name: option.default for option in given}["part.size"] == 7


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "3", 3),
        (float, "3", 3.0),
        (str, "3", "3"),
        (bool, "true", True),
        (bool, "False", False),
        (float | None, "none", None),
        (Literal["a", "b"], "b", "b"),
        (tuple[float, ...], "(0.0,1)", (0.0, 1.0)),
        (tuple[int, int], "1, 2", (1, 2)),
        (tuple[int, ...], "[1,]", (1,)),
        (Share, "0.5", 0.5),
    ],
)
def test_words_are_read_by_type(annotation, text, value):
    found = schema.read_text(annotation, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "3.0"),
        (float, "x"),
        (bool, "no"),
        (bool, "1"),
        (Literal["a"], "c"),
        (tuple[int, int], "1"),
        (tuple[int, ...], "1,x"),
        (int | None, ""),
    ],
)
def test_words_of_another_type(annotation, text):
    with pytest.raises(ValueError):
        schema.read_text(annotation, text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "JSON is needed, and at column 1 it is none (Expecting value)"),
        (b'{"a": 1', "JSON is needed, and at column 8 it is none (Expecting ',' del"),
        (b'{\n"a": x}', "JSON is needed, and at line 2, column 6 it is none"),
        (b"\xff\xfe{}", "UTF-8 text is needed, and byte 0 is none"),
        (b'{"a": {"b": 1, "b": 2}}', "'b' is there twice, once is needed"),
        (b"[" * 100_000, "JSON is needed (maximum recursion"),
        (b"1" * 5000, "JSON is needed (Exceeds the limit (4300 digits)"),
        (b"[1, 2]", "an object is needed, not [1, 2]"),
        (b"null", "an object is needed, not None"),
    ],
)
def test_files_that_are_no_object(tmp_path, content, message):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        records.read_object(path)
    assert str(error.value).startswith(f"file is {path}: {message}")
    assert "\n" not in str(error.value)


def test_rows_without_the_half_last_one(tmp_path):
    path = tmp_path / "rows"
    path.write_bytes('{"a": 1}\n{"a": "é"}\n{"a": "é'.encode()[:-1])
    assert records.read_rows(path) == [{"a": 1}, {"a": "é"}]
    path.write_bytes(b"")
    assert records.read_rows(path) == []
    for content, message in [
        (b"{}\n{\n{}\n", "line 2: JSON is needed, and at column 2 it is none"),
        (b"{}\n\n{}\n", "line 2: JSON is needed, and at column 1 it is none"),
        (b"{}\n3\n", "line 2 is 3: an object is needed"),
        (b"\x80\n", "UTF-8 text is needed, and byte 0 is none"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            records.read_rows(path)
        assert str(error.value).startswith(
            f"file is {path}: {message}".replace("\n", "")
        )


def test_texts_that_are_no_json():
    assert records.parse("[1, 2]", "the text") == [1, 2]
    with pytest.raises(InputError, match=r"^the text: JSON is needed, and at "):
        records.parse("[1", "the text")
