"""Whole EVF-SAMs: from the format of the original authors to ours, and back."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from modeling_evf_sam import EvfSamConfig
from modeling_evf_sam.originals.converting import (
    POSITIONS,
    convert_state_dict,
    detect_config,
    ignored_names,
    original_state_dict,
)
from modeling_evf_sam.originals.releases import ORIGINAL_MODEL_TYPE, find_release, is_multitask
from modeling_evf_sam.originals.writing import NO_TOKENIZER, Converted, processor_writer
from modeling_evf_sam.originals.tokenizer import (
    SENTENCEPIECE,
    TOKENIZER_CONFIG,
    TOKENIZER_FILES,
    open_sentencepiece,
    read_sentencepiece,
    read_source,
    refuse_long_vocabulary,
)
from modeling_evf_sam.processing_evf_sam import SEMANTIC_TOKEN

FAMILIES = {"sam": "SAM-1", "sam2": "SAM-2", "efficient_sam": "EfficientSAM"}
# The sizes that the original code builds: (kind, width, layers, side of the view) -> class and `sam_scale`.
ORIGINAL_SAMS = {
    ("sam", 1280, 32, 1024): ("EvfSamModel", "huge"),
    ("sam2", 144, 48, 1024): ("EvfSam2Model", "large"),
    ("sam2", 96, 12, 1024): ("EvfSam2Model", "tiny"),
    ("efficient_sam", 384, 12, 1024): ("EvfEffiSamModel", "small"),
    ("efficient_sam", 192, 12, 1024): ("EvfEffiSamModel", "tiny"),
}
# (width, layers, side of the view) -> `mm_extractor_scale`.
ORIGINAL_ENCODERS = {(1024, 24, 224): "large", (768, 12, 224): "base"}


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
    path = _locate(source, use_pickle)
    tensors, files = read_source(path, use_pickle=use_pickle)
    if any(name.startswith("multimodal_encoder.") for name in tensors):
        raise ValueError(f"'{source}' is in our format already: load it, or give --to-original")
    folder = path if path.is_dir() else path.parent
    name = Path(source).resolve().name if path.is_dir() else path.resolve().parent.name
    if multitask is None:
        multitask = is_multitask(folder, name) or "multitask" in path.name
    config = detect_config(tensors, multitask=multitask)
    words = _tokenizer(folder, tokenizer, semantic=multitask)
    if words is not None:
        refuse_long_vocabulary(words, config)
    converted = convert_state_dict(tensors)
    beside = [folder / file for file in TOKENIZER_FILES] if tokenizer is None else [tokenizer]
    ignored = ignored_names(tensors)
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


def _locate(source: str, use_pickle: bool) -> Path:
    if Path(source).exists():
        return Path(source)
    release = find_release(source, use_safetensors=False if use_pickle else None)
    if release is None:
        raise ValueError(f"'{source}' is no file, no folder, and no release of EVF-SAM in reach on the Hub")
    return release.folder


def _tokenizer(folder: Path, file: Path | None, *, semantic: bool) -> Any | None:
    if file is not None:
        return read_sentencepiece(file, semantic=semantic)
    if any((folder / name).is_file() for name in TOKENIZER_FILES[:2]):
        return AutoTokenizer.from_pretrained(folder)
    return None


def to_original_release(folder: Path, *, memory: Path | None, tokenizer: Path | None) -> Converted:
    """Give a model of ours the format of the original.

    Args:
        folder: what `save_pretrained` wrote.
        memory: an original SAM-2 file with the modules for videos.
        tokenizer: BEIT-3's beit3.spm, which the original's tokenizer reads.

    Raises:
        ValueError: the original code builds no model of these sizes.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"'{folder}' is no folder of ours: it has no config.json")
    config = EvfSamConfig.from_pretrained(folder)
    settings = _original_config(config)
    ours, files = read_source(folder)
    video, video_files = read_source(memory) if memory else (None, [])
    original = original_state_dict(ours, video)
    if config.sam_config.model_type == "efficient_sam":  # its positions go through a table of another size
        ours = {**ours, POSITIONS: convert_state_dict(original)[POSITIONS]}
    beside = [folder / name for name in ("config.json", *TOKENIZER_FILES)]
    return Converted(
        title=f"EVF-SAM with {FAMILIES[config.sam_config.model_type]}, in the original's format",
        text="For the code of EVF-SAM's authors; `EvfSamModel.from_pretrained` reads it as well."
        + (" It has no modules for videos." if config.sam_config.model_type == "sam2" and not memory else ""),
        config=config,
        tensors=original,
        model_tensors=ours,
        sources=[*files, *video_files, *(file for file in [*beside, *filter(None, [tokenizer])] if file.is_file())],
        names=[],
        mapped=len(ours),
        ignored=[],
        write_rest=_original_writer(folder, settings, config, tokenizer),
    )


def _original_config(config: EvfSamConfig) -> dict[str, Any]:
    """The original's config.json."""
    sam, encoder = config.sam_config, config.multimodal_config
    vision = sam.vision_config
    if sam.model_type == "sam2":
        backbone = vision.backbone_config
        size = (sam.model_type, backbone.hidden_size, sum(backbone.blocks_per_stage), config.view_size)
    else:
        size = (sam.model_type, vision.hidden_size, vision.num_hidden_layers, config.view_size)
    encoder_size = (encoder.hidden_size, encoder.num_hidden_layers, encoder.image_size)
    if size not in ORIGINAL_SAMS or encoder_size not in ORIGINAL_ENCODERS:
        raise ValueError(
            f"the original code builds no {size[0]} of width {size[1]}, {size[2]} layers and {size[3]} px "
            f"with a BEIT-3 of width {encoder_size[0]}, {encoder_size[1]} layers and {encoder_size[2]} px"
        )
    architecture, scale = ORIGINAL_SAMS[size]
    return {
        "model_type": ORIGINAL_MODEL_TYPE,
        "architectures": [architecture],
        "sam_scale": scale,
        "mm_extractor_scale": ORIGINAL_ENCODERS[encoder_size],
        "hidden_size": encoder.hidden_size,
        "out_dim": config.prompt_size,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
    }


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
