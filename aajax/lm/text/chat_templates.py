"""Chat templates for base models, which bring none: by name, or from a file."""

from pathlib import Path

from aajax.errors import InputError

_CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
_GEMMA = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{{ raise_exception('there is no system turn') }}
{%- endif -%}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
"""
_LLAMA3 = """\
{{- bos_token -}}
{%- for message in messages -%}
{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
{{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif -%}
"""
TEMPLATES = {"chatml": _CHATML, "gemma": _GEMMA, "llama3": _LLAMA3}
"""Formats of turns by name, for tokenizers that have their markers."""


def read_chat_template(name: str) -> str:
    """The text of a chat template: of TEMPLATES, or a Jinja file.

    Raises:
      InputError: if it is neither.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    needed = (
        f"chat_template is {name!r}: one of {', '.join(TEMPLATES)}, or a file with a "
        "Jinja template, is needed"
    )
    if not name:
        raise InputError(needed)
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{needed} ({error.__class__.__name__})") from error
