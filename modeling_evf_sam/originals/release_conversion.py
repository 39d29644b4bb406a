"""Whole EVF-SAMs: from the format of the original authors to ours, and back."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.originals.converting import (
    FOURIER,
    IMAGE_FOURIER,
    POSITIONS,
    convert_state_dict,
    ignored_names,
    original_state_dict,
)
from modeling_evf_sam.originals.names import has_memory
from modeling_evf_sam.originals.reading import read_source
from modeling_evf_sam.originals.releases import find_release, is_multitask
from modeling_evf_sam.originals.settings import original_settings
from modeling_evf_sam.originals.sizes import detect_config
from modeling_evf_sam.originals.tokenizer import (
    SENTENCEPIECE,
    TOKENIZER_CONFIG,
    TOKENIZER_FILES,
    open_sentencepiece,
    read_sentencepiece,
    read_tokenizer,
    refuse_long_vocabulary,
)
from modeling_evf_sam.originals.writing import NO_TOKENIZER, Converted, processor_writer
from modeling_evf_sam.processing_evf_sam import SEMANTIC_TOKEN

PRESENCE_HEAD = "presence_head."
FAMILIES = {"sam": "SAM-1", "sam2": "SAM-2", "efficient_sam": "EfficientSAM"}


def from_original(source: str, *, tokenizer: Path | None, use_pickle: bool, multitask: bool | None) -> Converted:
    """Read a release of the original authors.

    Args:
        source: its folder, one weight file, or a Hub id.
        tokenizer: BEIT-3's beit3.spm, in place of the source's own tokenizer.
        use_pickle: whether pickles in a folder may be read.
        multitask: whether it was trained on [semantic] prompts; None: as its tokenizer or its name tells.

    Raises:
        ValueError: there is no such release, or it cannot be read.
    """
    path, folder = _locate(source, use_pickle)
    tensors, files = read_source(path, use_pickle=use_pickle)
    if any(name.startswith("multimodal_encoder.") for name in tensors):
        raise ValueError(f"'{source}' is in our format already: load it, or give --to-original")
    name = Path(source).resolve().name if path.is_dir() else path.resolve().parent.name
    if multitask is None:
        multitask = is_multitask(folder, name, path.name)
    config = detect_config(tensors, multitask=multitask)
    words = read_sentencepiece(tokenizer, semantic=multitask) if tokenizer else read_tokenizer(folder)
    if words is not None:
        refuse_long_vocabulary(words, config)
    converted = convert_state_dict(tensors, video=True)
    beside = [folder / file for file in TOKENIZER_FILES] if tokenizer is None else [tokenizer]
    ignored = ignored_names(tensors, video=True)
    return Converted(
        title=f"EVF-SAM with {FAMILIES[config.sam_config.model_type]}{', multitask' if multitask else ''}",
        text="Converted from a release of EVF-SAM's authors, tensor by tensor; "
        + ("`[semantic]` prompts were trained." if multitask else "it knows no `[semantic]` prompts.")
        + (NO_TOKENIZER if words is None else ""),
        config=config,
        tensors=converted,
        model_tensors=converted,
        sources=[*files, *(file for file in beside if file.is_file())],
        names=[name, path.stem],
        mapped=len(tensors) - len(ignored),
        ignored=ignored,
        write_rest=processor_writer(config, words),
    )


def _locate(source: str, use_pickle: bool) -> tuple[Path, Path]:
    """The file or the folder with the weights, and the folder with the tokenizer."""
    path = Path(source)
    if path.exists():
        return path, path if path.is_dir() else path.parent
    release = find_release(source, use_safetensors=False if use_pickle else None)
    if release is None:
        raise ValueError(f"'{source}' is no release of EVF-SAM's authors: give a folder, a weight file, or a Hub id")
    return release.weights, release.texts


def to_original_release(folder: Path, *, memory: Path | None, tokenizer: Path | None) -> Converted:
    """Give a model of ours the format of the original.

    Args:
        folder: what `save_pretrained` wrote.
        memory: an original SAM-2 file with the modules for videos, for a model without.
        tokenizer: BEIT-3's beit3.spm, which the original's tokenizer reads.

    Raises:
        ValueError: the original code builds no model of these sizes.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"'{folder}' is no folder of ours: it has no config.json")
    config = EvfSamConfig.from_pretrained(folder)
    settings = original_settings(config)
    ours, files = read_source(folder)
    if IMAGE_FOURIER in ours:  # transformers saves a matrix that is tied once
        ours.setdefault(FOURIER, ours[IMAGE_FOURIER])
    head = [name for name in ours if name.startswith(PRESENCE_HEAD)]
    ours, config.presence = {name: ours[name] for name in ours if name not in head}, None
    video, video_files = read_source(memory) if memory else (None, [])
    original = original_state_dict(ours, video)
    if config.sam_config.model_type == "efficient_sam":  # its positions go through a table of another size
        ours = {**ours, POSITIONS: convert_state_dict(original)[POSITIONS]}
    beside = [folder / name for name in ("config.json", *TOKENIZER_FILES)]
    return Converted(
        title=f"EVF-SAM with {FAMILIES[config.sam_config.model_type]}, in the original's format",
        text="For the code of EVF-SAM's authors; `EvfSamModel.from_pretrained` reads it as well."
        + ("" if config.sam_config.model_type != "sam2" or has_memory(original) else " It has no modules for videos.")
        + (" Its presence head is left out: that format has no place for one." if head else ""),
        config=config,
        tensors=original,
        model_tensors=ours,
        sources=[*files, *video_files, *(file for file in [*beside, *filter(None, [tokenizer])] if file.is_file())],
        names=[],
        mapped=len(ours),
        ignored=head,
        write_rest=_original_writer(folder, settings, config, tokenizer),
    )


def _original_writer(
    folder: Path, settings: dict[str, Any], config: EvfSamConfig, tokenizer: Path | None
) -> Callable[[Path], None]:
    if tokenizer is not None:
        pieces = open_sentencepiece(tokenizer).vocab_size()

    def write(target: Path) -> None:
        dtype = str(config.dtype).removeprefix("torch.")  # which is known only when the weights are
        (target / "config.json").write_text(json.dumps({**settings, "torch_dtype": dtype}, indent=2) + "\n")
        if tokenizer is None:
            for file in filter(Path.is_file, (folder / name for name in TOKENIZER_FILES)):
                shutil.copyfile(file, target / file.name)
            return
        shutil.copyfile(tokenizer, target / SENTENCEPIECE)
        (target / "tokenizer_config.json").write_text(TOKENIZER_CONFIG)
        if config.semantic_prompts:  # its place is after the pieces, <s> or <pad>, and <mask>
            (target / "added_tokens.json").write_text(json.dumps({SEMANTIC_TOKEN: pieces + 2}) + "\n")

    return write
