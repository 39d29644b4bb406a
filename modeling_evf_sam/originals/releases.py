"""Releases of the original authors, as folders or on the Hub: their configuration, tensors and tokenizer.

Such a release says `model_type: evf`; its sizes follow from its tensors (`original_checkpoints.detect_config`).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import AutoTokenizer
from transformers.utils.hub import cached_file

from modeling_evf_sam.originals.converting import convert_state_dict, detect_config
from modeling_evf_sam.originals.reading import read_tensors

ORIGINAL_MODEL_TYPE = "evf"
HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")
TEXT_FILES = ["*.json", "*.model", "*.spm"]


@dataclass(frozen=True)
class Release:
    """A release in a folder.

    Attributes:
        folder: where it is.
        source: what `from_pretrained` was given.
        allow_pickle: whether its weights may be pickled.
    """

    folder: Path
    source: Any
    allow_pickle: bool

    def config_dict(self) -> dict[str, Any]:
        """Arguments of `EvfSamConfig`, from the tensors and from the name."""
        multitask = is_multitask(self.folder, self.source)
        return detect_config(self._tensors(), multitask=multitask).to_dict()

    def state_dict(self, *, image_size: int) -> dict[str, Tensor]:
        """The weights by our names, SAM-2's memory among them."""
        return convert_state_dict(self._tensors(), image_size=image_size, video=True)

    def tokenizer(self) -> Any:
        """The tokenizer.

        Raises:
            ValueError: the release has none; the message names the fix.
        """
        files = ("tokenizer.json", "sentencepiece.bpe.model")
        if not any((self.folder / name).is_file() for name in files):
            raise ValueError(
                f"{self.source} has no tokenizer: put BEIT-3's beit3.spm into the folder as sentencepiece.bpe.model, "
                'with a tokenizer_config.json that says {"tokenizer_class": "XLMRobertaTokenizer"}'
            )
        return AutoTokenizer.from_pretrained(self.folder)

    def _tensors(self) -> dict[str, Tensor]:
        return read_tensors(self.folder, self.allow_pickle)


def find_release(source: Any, *, use_safetensors: bool | None = None, **options: Any) -> Release | None:
    """An original release, downloaded where it is on the Hub; None for anything else.

    Args:
        source: what `from_pretrained` was given.
        use_safetensors: False to take pickled weights, as `from_pretrained` means it.
        options: further options of `from_pretrained`; those about the Hub are heeded.
    """
    if source is None or options.get("subfolder"):
        return None
    hub = {name: options[name] for name in HUB_OPTIONS if options.get(name) is not None}
    try:
        file = cached_file(source, "config.json", **hub)
    except (OSError, ValueError):
        return None  # from_pretrained has the right words for it
    if file is None or _read_json(Path(file)).get("model_type") != ORIGINAL_MODEL_TYPE:
        return None
    allow_pickle = use_safetensors is False
    folder = Path(source)
    if not folder.is_dir():
        weights = ["*.bin"] if allow_pickle else ["*.safetensors"]
        folder = Path(snapshot_download(str(source), allow_patterns=[*TEXT_FILES, *weights], **hub))
    return Release(folder, source, allow_pickle)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def is_multitask(folder: Path, source: Any) -> bool:
    """Whether a release was trained on [semantic] prompts: by its name, or by the token that its tokenizer adds."""
    files = [folder / name for name in ("added_tokens.json", "tokenizer_config.json", "tokenizer.json")]
    added = any('"[semantic]"' in file.read_text() for file in files if file.is_file())
    return added or "multitask" in Path(str(source)).name
