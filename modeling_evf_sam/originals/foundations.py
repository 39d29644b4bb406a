"""An untrained EVF-SAM from files of its parts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.multimodal_encoders import EvfSamProjector
from modeling_evf_sam.originals.converting import convert_state_dict, ignored_names, refuse_misfits
from modeling_evf_sam.originals.reading import read_source
from modeling_evf_sam.originals.sizes import detect_config
from modeling_evf_sam.originals.tokenizer import read_sentencepiece, refuse_long_vocabulary
from modeling_evf_sam.originals.writing import NO_TOKENIZER, Converted, processor_writer


@dataclass(frozen=True)
class Part:
    """A published file of one part.

    Attributes:
        module: what it becomes, "sam" or "multimodal_encoder".
        file: where it lies.
        files: it, and its shards where it is an index.
        tensors: its own names -> tensors.
    """

    module: str
    file: Path
    files: list[Path]
    tensors: Mapping[str, Tensor]


def read_part(module: str, file: Path) -> Part:
    """Open a published file; a pickle that is named is read as far as it holds tensors."""
    tensors, files = read_source(file)
    return Part(module, file, files, tensors)


def build_from_parts(config: EvfSamConfig, parts: Iterable[Part], *, seed: int) -> dict[str, Tensor]:
    """The weights of an untrained EVF-SAM: published parts, and a projector with PyTorch's own start, as the original.

    Args:
        config: of the whole model.
        parts: at the most one for each module. What they leave out is not in the result.
        seed: of the projector.

    Returns:
        name -> tensor as in `EvfSamModel.state_dict()`; the projector has the float type of the last part.

    Raises:
        ValueError: a file does not hold its part alone, or in another size; the message names it.
    """
    with torch.device("meta"):
        model = EvfSamModel(config)
    tensors: dict[str, Tensor] = {}
    dtype = torch.float32
    for part in parts:
        converted = _fitting(part, config, model.state_dict())
        dtype = next(tensor.dtype for tensor in converted.values())
        tensors |= converted
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projector = EvfSamProjector(model.projector.fc1.in_features, model.projector.fc2.out_features)
    return tensors | {f"projector.{name}": tensor.to(dtype) for name, tensor in projector.state_dict().items()}


def _fitting(part: Part, config: EvfSamConfig, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The converted tensors of a part that fit the model."""
    try:
        converted = convert_state_dict(part.tensors, image_size=config.view_size)
        strangers = [name for name in converted if not name.startswith(f"{part.module}.")]
        if strangers:
            raise ValueError(f"it must hold {part.module} alone, but has {strangers[0]}")
        own = {name: tensor for name, tensor in expected.items() if name.startswith(f"{part.module}.")}
        refuse_misfits(converted, own)
    except ValueError as error:
        raise ValueError(f"'{part.file}' is no {part.module} of this model: {error}: give another file") from error
    return converted


def from_foundations(sam: Path, beit3: Path, *, tokenizer: Path | None, seed: int) -> Converted:
    """A whole untrained model, whose sizes follow from its parts.

    Args:
        sam: a file of SAM, SAM-2, SAM-2.1 or EfficientSAM.
        beit3: a file of BEIT-3.
        tokenizer: BEIT-3's beit3.spm.
        seed: of the projector.

    Raises:
        ValueError: a file is not what it should be.
    """
    parts = [read_part("sam", sam), read_part("multimodal_encoder", beit3)]
    both = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    try:
        # As the multitask releases: the newer way to read photos with SAM-2, and ready to learn [semantic] prompts.
        config = detect_config(both, multitask=True)
    except ValueError as error:
        raise ValueError(f"'{sam}' and '{beit3}' are no SAM and no BEIT-3: {error}") from error
    words = None if tokenizer is None else read_sentencepiece(tokenizer, semantic=True)
    if words is not None:
        refuse_long_vocabulary(words, config)
    tensors = build_from_parts(config, parts, seed=seed)
    ignored = [name for part in parts for name in ignored_names(part.tensors)]
    return Converted(
        title=f"Untrained EVF-SAM from {sam.stem} and {beit3.stem}",
        text="The parts are as published; the projector between them is random, so **masks mean nothing before it is "
        "trained**. `[semantic]` prompts are on." + (NO_TOKENIZER if words is None else ""),
        config=config,
        tensors=tensors,
        model_tensors=tensors,
        sources=[*(file for part in parts for file in part.files), *filter(None, [tokenizer])],
        names=[sam.stem, beit3.stem],
        mapped=len(both) - len(ignored),
        ignored=ignored,
        write_rest=processor_writer(config, words),
    )
