"""Dialogues by parts against the chat template on whole dialogues."""

import hypothesis
import hypothesis.strategies as st
import pytest
from reference import chat_families as families

from aajax.lm.text.chat import find_template
from aajax.lm.text.tokens import load_tokenizer

NAMES = list(families.FAMILIES)
REFUSING = "a chat template that only appends to a dialogue is needed"

examples = hypothesis.settings(deadline=None, max_examples=40, derandomize=True)
parametrize_families = pytest.mark.parametrize("name", NAMES)
texts = st.text(max_size=12) | st.sampled_from(["\n", " \n you ", "user\n\n\n", "  a"])
# A template may trim a reply, and joins it with a line break before it if it can.
replies = texts.map(str.strip).filter(lambda text: text[:1].isascii())


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return {
        name: load_tokenizer(families.save_family(root / name, name)) for name in NAMES
    }


@pytest.fixture(scope="module")
def templates(tokens):
    return {name: find_template(tokens[name]) for name in NAMES}


@pytest.fixture
def refusal(tmp_path):
    """The reason why a family is refused with another template."""

    def find(name, template, **options):
        folder = families.save_family(tmp_path / "refused", name, template)
        with pytest.raises(ValueError, match=f"^tokens is [^\n]*{REFUSING}") as error:
            find_template(load_tokenizer(folder), **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    return find


def spoken(dialogue, system=None):
    messages = [] if system is None else [{"role": "system", "content": system}]
    for turn, text in enumerate(dialogue):
        role = "assistant" if turn % 2 else "user"
        messages.append({"role": role, "content": text})
    return messages


def by_template(tokens, messages, generate=True):
    """Ids of the whole dialogue tokenised at once."""
    rendered = tokens.render(messages, generate)
    return tokens.tokenizer.encode(rendered, add_special_tokens=False)


def by_parts(template, dialogue, stopped):
    """Ids of a dialogue whose replies end by themselves, or are all cut off."""
    tokens = template.tokens
    ids = template.opening(dialogue[0])
    for reply, text in zip(dialogue[1::2], dialogue[2::2], strict=True):
        ids += tokens.encode(reply) + [template.end_of_turn] * stopped
        ids += template.next_turn(text, stopped)
    return ids


def read(tokens, ids):
    return tokens.tokenizer.decode(ids, skip_special_tokens=False)


@parametrize_families
def test_parts_make_the_templates_own_dialogue(templates, name):
    template = templates[name]
    thought = template.tokens.encode("")
    if name == "thinking":
        thought = template.opening("")[-4:]
        assert read(template.tokens, thought) == "<think>\n\n</think>\n\n"

    @examples
    @hypothesis.given(st.tuples(texts, replies, texts, replies, texts), st.booleans())
    def check(dialogue, stopped):
        expected = by_template(template.tokens, spoken(dialogue))
        ids = by_parts(template, dialogue, stopped)
        if thought:
            # Kept before each reply, where the template keeps the last one alone.
            ids = without(ids[: -len(thought)], thought) + thought
        assert ids == expected

    check()


def without(ids, part):
    for i in range(len(ids) - len(part), -1, -1):
        if ids[i : i + len(part)] == part:
            ids = ids[:i] + ids[i + len(part) :]
    return ids


def test_dialogues_written_out(templates):
    def written(name, stopped=True):
        template = templates[name]
        ids = by_parts(template, ["ask ", "so", "and"], stopped)
        return read(template.tokens, ids + template.close(False))

    assert (
        written("chatml")
        == written("chatml", stopped=False)
        == (
            "<|im_start|>system\nYou are Pocket.<|im_end|>\n"
            "<|im_start|>user\nask <|im_end|>\n<|im_start|>assistant\nso<|im_end|>\n"
            "<|im_start|>user\nand<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
        )
    )
    assert written("thinking") == (
        "<|im_start|>user\nask <|im_end|>\n<|im_start|>assistant\n"
        "<think>\n\n</think>\n\nso<|im_end|>\n"
        "<|im_start|>user\nand<|im_end|>\n<|im_start|>assistant\n"
        "<think>\n\n</think>\n\n<|im_end|>\n"
    )
    assert written("headers") == (
        "<|begin|><|head|>system<|body|>\n\nDate: 26 Jul 2024\n\n<|eot|>"
        "<|head|>user<|body|>\n\nask<|eot|><|head|>assistant<|body|>\n\nso<|eot|>"
        "<|head|>user<|body|>\n\nand<|eot|><|head|>assistant<|body|>\n\n<|eot|>"
    )
    assert written("alternating") == (
        "<bos><turn>user\nask<end>\n<turn>model\nso<end>\n"
        "<turn>user\nand<end>\n<turn>model\n<end>\n"
    )


@parametrize_families
def test_what_follows_a_reply_depends_on_how_it_ended(templates, name):
    template = templates[name]
    end = [template.end_of_turn]
    assert template.end_of_turn in template.tokens.stop_ids
    assert template.next_turn("x", False) == end + template.next_turn("x", True)
    assert template.close(False) == end + template.close(True)
    closing = read(template.tokens, template.close(True))
    assert closing == ("" if name == "headers" else "\n")


@parametrize_families
def test_a_reply_stays_as_it_was_sampled(templates, name):
    # No text has these ids: bytes that are no text, and white space before the end.
    template = templates[name]
    pieces = template.tokens.pieces
    reply = [pieces.index(piece) for piece in (b"\xff", b"a", b"\n", b"n", b" ")]
    ids = template.opening("x") + reply + template.next_turn("y", False)
    place = len(template.opening("x"))
    assert ids[place : place + 5] == reply


@parametrize_families
def test_a_system_text_stands_before_everything(tokens, name):
    if name == "alternating":
        with pytest.raises(ValueError, match="system 'Bargain.': no system here"):
            find_template(tokens[name], system="Bargain.")
        return
    template = find_template(tokens[name], system="Bargain.")
    dialogue = [" ask", "so", "\nand"]
    ids = by_parts(template, dialogue, True)
    if name != "thinking":
        assert ids == by_template(template.tokens, spoken(dialogue, "Bargain."))
    assert read(template.tokens, ids).count("Bargain.") == 1
    assert "Pocket" not in read(template.tokens, ids)


def test_a_system_text_with_markers_or_that_is_left_out_is_refused(tokens, tmp_path):
    with pytest.raises(ValueError, match="system is .*without special tokens"):
        find_template(tokens["chatml"], system="Bargain.<|im_end|>")
    template = families.CHATML.replace(
        "messages %}", "messages if m.role != 'system'%}"
    )
    folder = families.save_family(tmp_path / "mute", "chatml", template)
    with pytest.raises(ValueError, match="system is 'Bargain.': None is needed"):
        find_template(load_tokenizer(folder), system="Bargain.")


@pytest.mark.parametrize("name", ["chatml", "thinking", "headers"])
def test_a_seat_that_listens_hears_turn_after_turn(templates, name):
    template = templates[name]
    tokens = template.tokens
    assert not template.merges_user_turns
    messages = [{"role": "user", "content": text} for text in (" a\n", "", "b")]
    assert template.opening([" a\n", "", "b"]) == by_template(tokens, messages)
    assert template.opening(["a"]) == template.opening("a")
    later = spoken(["x", "y"]) + messages
    ids = template.opening("x") + tokens.encode("y")
    ids += template.next_turn([" a\n", "", "b"], False)
    if name == "thinking":
        thought = template.opening("")[-4:]
        ids = without(ids[:-4], thought) + thought
    assert ids == by_template(tokens, later)


@pytest.mark.parametrize("name", ["alternating", "prefixing"])
def test_turns_of_listening_become_one_where_roles_alternate(templates, name):
    template = templates[name]
    assert template.merges_user_turns
    assert template.opening([" a", "b"]) == template.opening("a\n\nb")
    assert template.next_turn(["a", "", "b "], True) == template.next_turn(
        "a\n\n\n\nb", True
    )


@pytest.mark.parametrize(
    ("old", "condition"),
    [
        ("m.role + '\n'", "loop.index0 == 1 and m.role == 'user'"),
        ("m.role + '\n'", "loop.index0 > 1 and loop.previtem.role == m.role"),
        ("assistant\n'", "messages | length == 2"),
    ],
)
def test_turns_of_listening_become_one_where_the_place_matters(
    tmp_path, old, condition
):
    remark = f"{old} + ('(again)' if {condition} else '')"
    template = families.CHATML.replace(old, remark)
    folder = families.save_family(tmp_path / "remark", "chatml", template)
    assert find_template(load_tokenizer(folder)).separator == "\n\n"


def test_at_least_one_text_is_needed(templates):
    with pytest.raises(ValueError, match=r"user_text is \[\]: at least one"):
        templates["chatml"].opening([])


@parametrize_families
def test_a_text_that_spells_markers_ends_no_turn(templates, name):
    template = templates[name]
    tokens = template.tokens
    markers = {*tokens.markers.values()}
    plain = [i for i in template.opening("x") if i in markers]
    end = next(m for m, i in tokens.markers.items() if i == template.end_of_turn)
    attacks = [end, f"{end}\n{template.start}", f"{end[:2]}{end}{end[2:]}"]
    attacks += list(tokens.markers)
    for attack in attacks:
        for text in (attack, f"x{attack}x", f"\n{attack}\n"):
            ids = template.opening(text)
            assert [i for i in ids if i in markers] == plain
            assert template.next_turn(text, True).count(template.end_of_turn) == 1
            assert text.strip() in read(tokens, ids)


def test_reasoning_that_is_removed_later_is_refused(tokens, refusal):
    with pytest.raises(ValueError, match="<think>.*stands where|stands where .*think"):
        find_template(tokens["thinking"], enable_thinking=True)
    # Begun by the header, and not to be found in earlier turns.
    begun = families.THINKING.replace("'<think>\n\n</think>\n\n' }", "'<think>\n' }")
    assert "header of a reply" in refusal("thinking", begun)
    begun = families.CHATML.replace("assistant\n'", "assistant\n<think>\n'")
    assert "header of a reply" in refusal("chatml", begun)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        # The number of the turn; of the dialogue; and a hint in the last turn.
        ("m.content", "loop.index0 ~ m.content", "once and"),
        ("system\nYou", "system\n' ~ messages | length ~ 'You", "the start is"),
        ("m.content", "('Last: ' if loop.last else '') + m.content", "once and"),
        # Only the last four messages; all replies in capitals; replies left out.
        ("in messages", "in messages[-4:]", "does not write"),
        ("m.content", "(m.content | upper)", "does not write"),
        ("in messages", "in messages | rejectattr('role', 'eq', 'assistant')", "write"),
        # What only whole examples show.
        ("m.content", "m.content.replace('  ', ' ')", "stands where"),
        ("m.content", "(m.content or '(silence)')", "stands where"),
        ("m.content", "m.content.lstrip()", "stands where"),
        # A turn that is not over by one token, and a template that always fails.
        ("'<|im_end|>' + '\n'", "'.\n'", "no single token ends a reply"),
        ("m.content", "m.words", "it fails"),
        ("m.content", "raise_exception('two\nlines')", "it fails: two lines"),
    ],
)
def test_templates_that_rewrite_a_dialogue_are_refused(refusal, old, new, reason):
    assert old in families.CHATML
    assert reason in refusal("chatml", families.CHATML.replace(old, new))


def test_a_tokenizer_without_a_template_is_refused(tmp_path):
    folder = families.save(tmp_path, families.byte_level(families.IM))
    with pytest.raises(ValueError, match="chat template .* is needed, it has none"):
        find_template(load_tokenizer(folder))


def test_a_tokenizer_that_joins_parts_otherwise_is_refused(tmp_path):
    # Its marker swallows the line break that the template writes behind it.
    tokenizer = families.byte_level(families.IM)
    tokenizer.add_special_tokens(
        [families.AddedToken("<|im_end|>", special=True, rstrip=True)]
    )
    folder = families.save(tmp_path, tokenizer, families.CHATML, **families.IM_SETTINGS)
    with pytest.raises(ValueError, match="stands where"):
        find_template(load_tokenizer(folder))
