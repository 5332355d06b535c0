"""Text and tokens of a tokenizer folder, compared with transformers' own decoding."""

import json

import hypothesis
import hypothesis.strategies as st
import pytest
from reference import chat_families as families
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer

from aajax.errors import InputError
from aajax.lm.text.pocket_tokenizer import pocket_tokenizer
from aajax.lm.text.tokens import load_tokenizer

NAMES = list(families.FAMILIES)
TEXT = "you ask, and\n\n I answer: Ünï ✓ 漢字 🎲\t\r\n"

examples = hypothesis.settings(deadline=None, max_examples=50, derandomize=True)
parametrize_families = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tokenizers")
    return {name: families.save_family(root / name, name) for name in NAMES}


@pytest.fixture(scope="module")
def loaded(folders):
    return {name: load_tokenizer(folder) for name, folder in folders.items()}


@parametrize_families
def test_a_text_is_encoded_as_by_its_own_tokenizer_and_comes_back(loaded, name):
    tokens = loaded[name]
    ids = tokens.encode(TEXT)
    assert ids == tokens.tokenizer.encode(TEXT, add_special_tokens=False)
    assert tokens.decode(ids) == TEXT
    assert tokens.encode("") == []


@parametrize_families
def test_decoding_never_fails_and_agrees_with_transformers(loaded, name):
    tokens = loaded[name]

    @examples
    @hypothesis.given(st.lists(st.integers(0, tokens.vocab_size - 1)))
    def check(ids):
        expected = tokens.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        text = tokens.decode(ids)
        # The other one drops whole runs of bytes if any of them is no text.
        assert text == expected or "�" in text
        assert text == expected or name in ("alternating", "prefixing")

    check()
    assert tokens.decode([-1, tokens.vocab_size, 10**9]) == ""


@parametrize_families
def test_bytes_of_tokens_make_the_text(loaded, name):
    tokens = loaded[name]
    pieces = tokens.token_bytes()
    assert len(pieces) == tokens.vocab_size == len(tokens.tokenizer)
    assert b"".join(pieces[i] for i in tokens.encode(TEXT)) == TEXT.encode()
    added = tokens.tokenizer.added_tokens_decoder
    special = [i for i, token in added.items() if token.special]
    assert [i for i, piece in enumerate(pieces) if piece is None] == sorted(special)
    single = {piece for piece in pieces if piece is not None and len(piece) == 1}
    assert len(single) == 256


@parametrize_families
def test_half_a_surrogate_pair_becomes_a_question_mark(loaded, name):
    tokens = loaded[name]
    assert tokens.decode(tokens.encode("a\ud83d")) == "a?"


def test_white_space_that_a_template_writes_is_no_marker(tmp_path):
    tokenizer = families.byte_level(families.IM, ["\n\n\n\n", "system"])
    template = families.CHATML.replace("Pocket.", "Pocket.\n\n\n\n")
    tokens = load_tokenizer(families.save(tmp_path, tokenizer, template))
    assert "system" in tokens.markers
    assert tokens.encode("\n\n\n\n") == tokenizer.encode("\n\n\n\n").ids
    assert len(tokens.encode("\n\n\n\n")) == 1


def test_bytes_that_are_no_text_are_replaced(loaded):
    tokens = loaded["chatml"]
    by_bytes = {piece: i for i, piece in enumerate(tokens.pieces)}
    assert tokens.decode([by_bytes[b"a"], by_bytes[b"\xff"]]) == "a�"
    half, rest = by_bytes[b"\xc3"], by_bytes[b"\xa9"]
    assert (tokens.decode([half]), tokens.decode([half, rest])) == ("�", "é")


def test_tokens_added_as_text_have_the_bytes_of_their_spelling(loaded):
    thinking, turns = loaded["thinking"], loaded["alternating"]
    assert thinking.pieces[thinking.markers["<think>"]] == b"<think>"
    assert "\n\n" not in turns.markers
    assert turns.pieces[turns.encode("\n\n")[0]] == b"\n\n"
    assert turns.pieces[turns.encode("  ")[0]] == b"  "


@parametrize_families
def test_no_text_spells_a_marker(loaded, name):
    tokens = loaded[name]
    markers = {*tokens.markers.values()}
    assert len(markers) >= 3
    spelled = list(tokens.markers)

    @examples
    @hypothesis.given(st.lists(st.sampled_from([*spelled, "<", "|>", " ", "\n"])))
    def check(parts):
        text = "".join(parts)
        ids = tokens.encode(text)
        assert markers.isdisjoint(ids)
        assert tokens.decode(ids) == text

    check()
    for marker in spelled:
        # The tokenizer itself takes them for markers, so that there is a danger.
        as_is = tokens.tokenizer.encode(marker, add_special_tokens=False)
        assert as_is == [tokens.markers[marker]]
        # What stands beside it is read as ever.
        beside = tokens.encode("user")
        assert len(beside) < 4
        assert tokens.encode("user" + marker)[: len(beside)] == beside


def test_a_vocabulary_that_spells_a_marker_by_itself_does_not_either(tmp_path):
    alphabet = {"<": 0, "s": 1, ">": 2, "<s": 3, "<s>": 4}
    tokenizer = Tokenizer(models.BPE(alphabet, [("<", "s"), ("<s", ">")]))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>"])
    tokens = load_tokenizer(families.save(tmp_path, tokenizer, bos_token="<s>"))
    assert tokens.plain.encode("<s>").ids == [4]
    assert tokens.encode("s<s>") == [1, 0, 1, 2]


def test_stop_tokens_come_from_all_three_places(tmp_path):
    folder = families.save_family(tmp_path / "headers", "headers")
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 5]}')
    tokens = load_tokenizer(folder)
    markers = tokens.markers
    assert tokens.end_of_turn == "<|eot|>"
    assert tokens.stop_ids == {markers["<|over|>"], markers["<|eot|>"], 0, 5}
    assert tokens.pad_id == 0
    (folder / "generation_config.json").write_text('{"eos_token_id": 7}')
    assert 7 in load_tokenizer(folder).stop_ids


def test_without_a_template_the_tokenizers_own_end_stops(tmp_path):
    tokenizer = families.byte_level(families.IM)
    tokens = load_tokenizer(families.save(tmp_path, tokenizer, **families.IM_SETTINGS))
    assert tokens.end_of_turn is None
    assert tokens.stop_ids == {tokens.markers["<|im_end|>"]}
    assert tokens.pad_id == tokens.markers["<|endoftext|>"]


@pytest.mark.parametrize("named", [True, False])
def test_a_model_type_beside_it_does_not_replace_the_tokenizer(tmp_path, named):
    # Digits are kept together here, which the tokenizer of this model type never does.
    tokenizer = families.byte_level(families.IM)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_tokens(["2024"])
    families.save(tmp_path, tokenizer)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    if not named:
        (tmp_path / "tokenizer_config.json").unlink()
    tokens = load_tokenizer(tmp_path)
    text = "don't  ask; in 2024\n\nline"
    assert tokens.encode(text) == tokenizer.encode(text).ids


def test_a_class_of_its_own_is_respected(tmp_path):
    families.save(
        tmp_path, families.byte_level(families.IM), tokenizer_class="Qwen2Tokenizer"
    )
    tokens = load_tokenizer(tmp_path)
    assert type(tokens.tokenizer).__name__.startswith("Qwen2Tokenizer")
    assert tokens.decode(tokens.encode(TEXT)) == TEXT
    other = AutoTokenizer.from_pretrained(tmp_path)
    assert tokens.encode(TEXT) == other.encode(TEXT, add_special_tokens=False)


def test_a_truncation_saved_with_it_does_not_cut_texts(tmp_path):
    tokenizer = families.byte_level(families.IM)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=200)
    tokens = load_tokenizer(families.save(tmp_path, tokenizer))
    assert tokens.decode(tokens.encode(TEXT)) == TEXT
    assert len(tokens.encode("a")) == 1


def test_folders_without_a_tokenizer_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=f"folder is '{folder}': .*tokenizer.json"):
            load_tokenizer(folder)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertX"}')
    with pytest.raises(ValueError, match=f"folder is '{tmp_path}': [^\n]*$"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", b"[]", "file is {}: an object is needed, not []"),
        ("tokenizer_config.json", b"\xff", "file is {}: UTF-8 text is needed"),
        (
            "tokenizer_config.json",
            b'{"tokenizer_class": 5}',
            "file is {}: tokenizer_class is 5: a text is needed",
        ),
        (
            "generation_config.json",
            b'{"eos_token_id": "x"}',
            "file is {}: eos_token_id is 'x': a whole number of at least 0, or a tuple",
        ),
        ("generation_config.json", b"{", "file is {}: JSON is needed, and at column 2"),
        ("tokenizer.json", b"{", "folder is '{}': a readable tokenizer is needed ("),
        (
            "tokenizer.json",
            b"\x00\xff",
            "folder is '{}': a readable tokenizer is needed",
        ),
    ],
)
def test_files_of_a_tokenizer_that_cannot_be_read(tmp_path, name, content, message):
    pocket_tokenizer(tmp_path)
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_tokenizer(tmp_path)
    where = tmp_path if message.startswith("folder") else file
    assert str(caught.value).startswith(message.format(where))
    assert "\n" not in str(caught.value)


def test_tokenizers_of_another_kind_are_refused(tmp_path):
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(ValueError, match="not one with the decoder WordPiece"):
        load_tokenizer(families.save(tmp_path, tokenizer))
