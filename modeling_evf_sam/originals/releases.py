"""Which folders and repositories are releases of the original authors, and what each of them is.

A release says `model_type: evf` in its config.json, which names its sizes; whether it was trained on [semantic]
prompts follows from its tokenizer or its name. That is all there is to it: no other file asks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from torch import Tensor

from modeling_evf_sam.originals.converting import convert_state_dict
from modeling_evf_sam.originals.downloads import HUB_OPTIONS, download_weights, find_config
from modeling_evf_sam.originals.reading import read_tensors
from modeling_evf_sam.originals.settings import ORIGINAL_MODEL_TYPE, named_config
from modeling_evf_sam.originals.sizes import detect_arguments
from modeling_evf_sam.originals.tokenizer import TOKENIZER_FILES, read_tokenizer


@dataclass(frozen=True)
class Release:
    """A release in a folder or on the Hub. What is on the Hub is downloaded when it is asked for.

    Attributes:
        source: what `from_pretrained` was given.
        settings: its config.json.
        allow_pickle: whether its weights may be pickled.
        hub: options of `from_pretrained` about the Hub.
    """

    source: str
    settings: Mapping[str, Any]
    allow_pickle: bool
    hub: Mapping[str, Any]

    def config_dict(self) -> dict[str, Any]:
        """Arguments of `EvfSamConfig` by the names in its config.json; no weights are opened.

        Raises:
            ValueError: the names leave the sizes open; the message tells the other way.
        """
        try:
            return named_config(self.settings, multitask=self.multitask)
        except ValueError as error:
            raise ValueError(
                f"{self.source}: {error}, so that only its weights tell them: load the model first, then take "
                "model.config, and EvfSamProcessor.from_config(model.config, tokenizer)"
            ) from None

    def measured_config_dict(self) -> dict[str, Any]:
        """Arguments of `EvfSamConfig` by the shapes of its tensors, whatever its config.json says."""
        return detect_arguments(self._tensors, multitask=self.multitask)

    def state_dict(self, *, image_size: int) -> dict[str, Tensor]:
        """The weights by our names, SAM-2's memory among them."""
        return convert_state_dict(self._tensors, image_size=image_size, video=True)

    def tokenizer(self) -> Any:
        """The tokenizer.

        Raises:
            ValueError: the release has none; the message names the fix.
        """
        tokenizer = read_tokenizer(self.texts)
        if tokenizer is None:
            raise ValueError(
                f"{self.source} has no tokenizer: put BEIT-3's beit3.spm into the folder as sentencepiece.bpe.model, "
                'with a tokenizer_config.json that says {"tokenizer_class": "XLMRobertaTokenizer"}'
            )
        return tokenizer

    @property
    def multitask(self) -> bool:
        """Whether it was trained on [semantic] prompts."""
        return is_multitask(None, self.source) or is_multitask(self.texts)

    @cached_property
    def weights(self) -> Path:
        """The folder with its weights."""
        if Path(self.source).is_dir():
            return Path(self.source)
        return download_weights(self.source, allow_pickle=self.allow_pickle, **self.hub)

    @cached_property
    def texts(self) -> Path:
        """The folder with its tokenizer."""
        if Path(self.source).is_dir():
            return Path(self.source)
        return Path(snapshot_download(self.source, allow_patterns=list(TOKENIZER_FILES), **self.hub))

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return read_tensors(self.weights, self.allow_pickle)


def find_release(source: Any, *, use_safetensors: bool | None = None, **options: Any) -> Release | None:
    """An original release; None for anything else.

    Args:
        source: what `from_pretrained` was given.
        use_safetensors: False to take pickled weights, as `from_pretrained` means it.
        options: further options of `from_pretrained`; those about the Hub are heeded.

    Raises:
        OSError: no such folder, and no such repository in reach.
    """
    if source is None or options.get("subfolder"):
        return None
    hub = {name: options[name] for name in HUB_OPTIONS if options.get(name) is not None}
    file = find_config(source, **hub)
    settings = {} if file is None else _read_json(file)
    if settings.get("model_type") != ORIGINAL_MODEL_TYPE:
        return None
    return Release(str(source), settings, use_safetensors is False, hub)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def is_multitask(folder: Path | None, *names: str) -> bool:
    """Whether a release was trained on [semantic] prompts: by a name, or by the token that its tokenizer adds."""
    if any("multitask" in Path(name).name for name in names):
        return True
    files = [] if folder is None else [folder / name for name in TOKENIZER_FILES]
    return any('"[semantic]"' in file.read_text() for file in files if file.suffix == ".json" and file.is_file())
