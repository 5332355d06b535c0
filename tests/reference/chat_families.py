"""Small tokenizers with chat templates in the manner of known families."""

import json

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

CORPUS = [
    "you ask and I answer, line after line\n\nand so on\n\n\n",
    "user\nassistant\nmodel\nthe answer is the answer\r\n\t",
]

CHATML = (
    "{%- if messages[0].role != 'system' %}"
    "{{- '<|im_start|>system\nYou are Pocket.<|im_end|>\n' }}{% endif %}"
    "{%- for m in messages %}"
    "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif %}"
)
# Reasoning is shown after the last question alone, and an empty one asked for.
THINKING = (
    "{%- set ns = namespace(last=0) %}"
    "{%- for m in messages %}"
    "{%- if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{%- endfor %}"
    "{%- for m in messages %}"
    "{%- set content = m.content %}"
    "{%- if m.role == 'assistant' and '</think>' in content %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{%- if m.role == 'assistant' and loop.index0 > ns.last %}"
    "{%- set content = '<think>\n\n</think>\n\n' + content %}{% endif %}"
    "{{- '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{% endif %}"
    "{%- endif %}"
)
HEADERS = (
    "{{- bos_token }}"
    "{%- set ns = namespace(system='') %}"
    "{%- if messages[0].role == 'system' %}"
    "{%- set ns.system = messages[0].content | trim %}"
    "{%- set messages = messages[1:] %}{% endif %}"
    "{{- '<|head|>system<|body|>\n\nDate: ' + (date_string or strftime_now('%d')) }}"
    "{{- '\n\n' + ns.system + '<|eot|>' }}"
    "{%- for m in messages %}"
    "{{- '<|head|>' + m.role + '<|body|>\n\n' + m.content | trim + '<|eot|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|head|>assistant<|body|>\n\n' }}{% endif %}"
)
ALTERNATING = (
    "{{ bos_token }}"
    "{%- if messages[0].role == 'system' %}"
    "{{ raise_exception('no system here') }}{% endif %}"
    "{%- for m in messages %}"
    "{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<turn>' + ('model' if m.role == 'assistant' else m.role) }}"
    "{{ '\n' + m.content | trim + '<end>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"
)
# A system text belongs to the first question, as in the third family of Gemma.
PREFIXING = ALTERNATING.replace(
    "{{ raise_exception('no system here') }}{% endif %}",
    "{%- set prefix = messages[0].content + '\n\n' %}"
    "{%- set messages = messages[1:] %}{% endif %}",
).replace("'\n' + m", "'\n' + ((prefix or '') if loop.first else '') + m")


def byte_level(special, added=()):
    """Byte-level BPE whose pre-tokenizer joins line breaks, as Qwen's and Llama's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    words = (
        r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in special])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in added])
    return tokenizer


def sentencepiece(special):
    """BPE with ▁ for a space and bytes for unknown characters, as Gemma's; special
    tokens and runs of line breaks are in the model's own vocabulary."""
    pieces = [*special, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["\n", "\n\n", "▁", "▁▁", *"abcdefghijklmnopqrstuvwxyz<>.HE"]
    pieces += ["an", "and", "▁and", "se", "er", "user", "us"]
    merges = [("▁", "▁"), ("a", "n"), ("an", "d"), ("▁", "and")]
    merges += [("s", "e"), ("e", "r"), ("u", "s"), ("us", "er")]
    tokenizer = Tokenizer(
        models.BPE(
            {piece: i for i, piece in enumerate(pieces)},
            merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in special])
    tokenizer.add_special_tokens([AddedToken("<unk>", special=True)])
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False)])
    return tokenizer


def save(folder, tokenizer, template=None, **settings):
    """A folder as it is published."""
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **settings}
    if template is not None:
        settings["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def save_family(folder, name, template=None):
    """One of FAMILIES, possibly with another template in its place."""
    make, own, settings = FAMILIES[name]
    return save(folder, make(), template or own, **settings)


IM = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
IM_SETTINGS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
HEAD = ["<|begin|>", "<|over|>", "<|head|>", "<|body|>", "<|eot|>"]
TURN = ["<pad>", "<eos>", "<bos>", "<turn>", "<end>"]
TURN_SETTINGS = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}
FAMILIES = {
    "chatml": (lambda: byte_level(IM), CHATML, IM_SETTINGS),
    "thinking": (
        lambda: byte_level(IM, ["<think>", "</think>"]),
        THINKING,
        IM_SETTINGS,
    ),
    "headers": (
        lambda: byte_level(HEAD),
        HEADERS,
        {"bos_token": "<|begin|>", "eos_token": "<|over|>"},
    ),
    "alternating": (lambda: sentencepiece(TURN), ALTERNATING, TURN_SETTINGS),
    "prefixing": (lambda: sentencepiece(TURN), PREFIXING, TURN_SETTINGS),
}
