"""Makes byte-level BPE tokenizers for pocket models (tiny chat models)."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from aajax.errors import InputError
from aajax.files import write_json, write_text, written_folder
from aajax.lm.text.tokens import Tokens, byte_characters, load_tokenizer

_PAD, _DONE = "<|pad|>", "<|done|>"
_ROLES = ("system", "user", "assistant")
_MARKERS = (_PAD, _DONE, *(f"<|{role}|>" for role in _ROLES))
_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message.role + '|>' + message.content + '<|done|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SMALLEST = 256 + len(_MARKERS)  # tokens: every byte, and the markers after them


def pocket_tokenizer(
    folder: str | Path, texts: Iterable[str] | None = None, vocab_size: int = 512
) -> Tokens:
    """Trains, saves and loads a byte-level tokenizer with a chat template.

    A turn is a special token for the role, the text, and <|done|>, the end of turn.

    Args:
      folder: gets tokenizer.json and tokenizer_config.json, which `AutoTokenizer`
        reads as well.
      texts: what byte-level BPE is trained on; if None, a token is a byte, whose id is
        the byte itself.
      vocab_size: at most so many tokens after training, markers included.

    Raises:
      InputError: if vocab_size leaves no room for every byte and the markers.
    """
    if vocab_size < SMALLEST:
        raise InputError(f"vocab_size is {vocab_size}: at least {SMALLEST} is needed")
    alphabet = {character: byte for byte, character in enumerate(byte_characters())}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    # Tokens may be whole phrases, punctuation and spaces included, but a number is a
    # token of its own, or few texts would have the same.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    if texts is not None:
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - len(_MARKERS),
            initial_alphabet=list(alphabet),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(marker, normalized=False, special=True) for marker in _MARKERS]
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": _DONE,
        "pad_token": _PAD,
        "clean_up_tokenization_spaces": False,
        "chat_template": _TEMPLATE,
    }
    with written_folder(folder) as made:
        write_text(made / "tokenizer.json", tokenizer.to_str(pretty=True))
        write_json(made / "tokenizer_config.json", settings, indent=2)
    return load_tokenizer(Path(folder))
