"""An untrained EVF-SAM from files of its parts."""

from pathlib import Path

import torch
from torch import Tensor

from modeling_evf_sam import EvfSamConfig
from modeling_evf_sam.modeling_evf_sam import EvfSamProjector
from modeling_evf_sam.originals.converting import convert_state_dict, detect_config, ignored_names
from modeling_evf_sam.originals.writing import NO_TOKENIZER, Converted, processor_writer
from modeling_evf_sam.originals.tokenizer import read_sentencepiece, read_source, refuse_long_vocabulary


def from_foundations(sam: Path, beit3: Path, *, tokenizer: Path | None, seed: int) -> Converted:
    """Read the parts, and draw a projector as the original does.

    Args:
        sam: a file of SAM, SAM-2, SAM-2.1 or EfficientSAM.
        beit3: a file of BEIT-3.
        tokenizer: BEIT-3's beit3.spm.
        seed: of the projector.

    Raises:
        ValueError: a file is not what it should be.
    """
    sam_tensors, sam_files = read_source(sam)
    beit3_tensors, beit3_files = read_source(beit3)
    parts = {**_only("sam.", sam, sam_tensors), **_only("multimodal_encoder.", beit3, beit3_tensors)}
    # As the multitask releases: the newer way to read photos with SAM-2, and ready to learn [semantic] prompts.
    config = detect_config({**sam_tensors, **beit3_tensors}, multitask=True)
    words = None if tokenizer is None else read_sentencepiece(tokenizer, semantic=True)
    if words is not None:
        refuse_long_vocabulary(words, config)
    tensors = parts | _projector(config, seed, parts["multimodal_encoder.layer_norm.vision.weight"].dtype)
    ignored = [*ignored_names(sam_tensors), *ignored_names(beit3_tensors)]
    return Converted(
        title=f"Untrained EVF-SAM from {sam.stem} and {beit3.stem}",
        text="The parts are as published; the projector between them is random, so **masks mean nothing before it is "
        "trained**. `[semantic]` prompts are on." + (NO_TOKENIZER if words is None else ""),
        config=config,
        tensors=tensors,
        model_tensors=tensors,
        sources=[*sam_files, *beit3_files, *filter(None, [tokenizer])],
        names=[sam.stem, beit3.stem],
        mapped=len(sam_tensors) + len(beit3_tensors) - len(ignored),
        ignored=ignored,
        write_rest=processor_writer(config, words),
    )


def _only(prefix: str, file: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The converted tensors of a file that holds one part alone."""
    try:
        converted = convert_state_dict(tensors)
    except ValueError as error:
        raise ValueError(f"'{file}': {error}") from error
    strangers = [name for name in converted if not name.startswith(prefix)]
    if strangers:
        raise ValueError(f"'{file}' must hold {prefix.rstrip('.')} alone, but has {strangers[0]}: give another file")
    return converted


def _projector(config: EvfSamConfig, seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Fresh weights, PyTorch's own as in the original."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projector = EvfSamProjector(config.multimodal_config.hidden_size, config.prompt_size)
    return {f"projector.{name}": tensor.to(dtype) for name, tensor in projector.state_dict().items()}
