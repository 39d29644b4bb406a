"""Original files of EVF-SAM and of its parts: tensors for our model and back, and the sizes that they imply.

Works for whole EVF-SAM releases and for single SAM, SAM-2, SAM-2.1, EfficientSAM and BEIT-3 files, on any device. The
names are in `original_names`.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.originals.names import IGNORED, SAM2_VIDEO, family_of, release_name, translate
from modeling_evf_sam.originals.reading import listed
from modeling_evf_sam.presets import SAM2_BASE_PLUS, SAM2_LARGE, SAM2_SMALL, SAM2_TINY

FOURIER = "sam.prompt_encoder.shared_embedding.positional_embedding"
IMAGE_FOURIER = "sam.shared_image_embedding.positional_embedding"  # the same matrix: transformers has it twice
POINTS = "sam.prompt_encoder.point_embed"
POSITIONS = "sam.vision_encoder.pos_embed"
EFFICIENT_SAM_SIDE = 14  # EfficientSAM keeps the positions of its 224 px pretraining, 14 x 14 and [CLS]


def convert_state_dict(
    state_dict: Mapping[str, Tensor], *, image_size: int = 1024, video: bool = False
) -> dict[str, Tensor]:
    """Give the tensors of an original file the names of `EvfSamModel.state_dict()`.

    Works for a whole EVF-SAM release and for a single SAM, SAM-2, SAM-2.1, EfficientSAM or BEIT-3 file. Tensors are
    not copied, but for a few small ones. `ignored_names` tells what is left out.

    Args:
        state_dict: original name -> tensor.
        image_size: side of SAM's view. Needed for EfficientSAM alone: its file has positions of a 14 x 14 grid,
            which the original stretches to the view on every call, and this function once.
        video: whether SAM-2's memory comes along, for `EvfSamVideoModel`; `EvfSamModel` has no place for it.

    Raises:
        ValueError: for names that are not known; the message lists them.
    """
    family = family_of(map(release_name, state_dict))
    ignored = set(ignored_names(state_dict, video=video))
    new_names = translate([name for name in state_dict if name not in ignored], family)
    converted = {new: state_dict[name] for name, new in new_names.items()}

    if FOURIER in converted and family != "efficient_sam":
        converted[IMAGE_FOURIER] = converted[FOURIER].clone()
    if family == "sam2":  # one tensor per kind of point there, one for all here
        points = [converted.pop(name) for index in range(4) if (name := f"{POINTS}.{index}.weight") in converted]
        if points:
            converted[f"{POINTS}.weight"] = torch.cat(points)
    if family == "efficient_sam" and POSITIONS in converted:
        side = image_size // _shape(converted, "sam.vision_encoder.patch_embed.projection.weight", 4)[-1]
        _, _, width = _shape(converted, POSITIONS, 3)  # (1, 1 + 14 * 14, C), the [CLS] first
        converted[POSITIONS] = _resize_grid(converted[POSITIONS][0, 1:], side).view(1, side, side, width)
    return converted


def ignored_names(state_dict: Mapping[str, Tensor], *, video: bool = False) -> list[str]:
    """Names of an original file without a place in our model.

    These are pretraining heads, constants and, unless it is for `video`, SAM-2's memory.
    """
    memory = not video and family_of(map(release_name, state_dict)) == "sam2"
    return [name for name in state_dict if IGNORED.search(name) or (memory and SAM2_VIDEO.search(release_name(name)))]


def original_state_dict(
    state_dict: Mapping[str, Tensor], memory: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Give the tensors of a model of ours the names of an original release: undo `convert_state_dict`.

    EfficientSAM's positions become a 14 x 14 table again, the only size that the original loads: the one that the
    original stretches to ours. Its [CLS] row, which nothing reads, is zero.

    Args:
        state_dict: our name -> tensor.
        memory: an original file of SAM-2, whole release or Meta's, for the modules that only videos need, where the
            model has none.

    Raises:
        ValueError: for names that are not known, for what the original cannot hold (EfficientSAM's positions trained
            at the view's size, two unlike Fourier matrices), and if `memory` has no such modules or the model is no
            SAM-2.
    """
    family = family_of(state_dict)
    ours = dict(state_dict)
    if IMAGE_FOURIER in ours:
        matrix = ours.pop(IMAGE_FOURIER)
        ours.setdefault(FOURIER, matrix)
        if not matrix.is_meta and not torch.equal(matrix, ours[FOURIER]):
            raise ValueError(f"{FOURIER} and {IMAGE_FOURIER} differ, and the original has one: make them equal")
    if family == "sam2" and f"{POINTS}.weight" in ours:
        rows = ours.pop(f"{POINTS}.weight").split(1)
        ours |= {f"{POINTS}.{index}.weight": row.clone() for index, row in enumerate(rows)}
    if family == "efficient_sam" and POSITIONS in ours:
        ours[POSITIONS] = _shrink_positions(ours[POSITIONS])

    original = {new: ours[name] for name, new in translate(list(ours), family, back=True).items()}
    if memory is not None:
        video = {new: memory[name] for name in memory if SAM2_VIDEO.search(new := release_name(name))}
        if family != "sam2" or not video:
            raise ValueError("memory belongs to SAM-2: give a SAM-2 model and an original SAM-2 file that has it")
        original |= {name: tensor for name, tensor in video.items() if not IGNORED.search(name)}
    return original


def refuse_misfits(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check converted tensors against those of a model, such as one on the meta device.

    Raises:
        ValueError: some are missing, unknown or of another shape; the message names them.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    problems = {
        "missing": sorted(shapes.keys() - tensors.keys()),
        "unknown": sorted(tensors.keys() - shapes.keys()),
        "misshapen": [
            f"{name} {tuple(tensor.shape)} instead of {shapes[name]}"
            for name, tensor in tensors.items()
            if name in shapes and tuple(tensor.shape) != shapes[name]
        ],
    }
    found = [f"{len(names)} {problem} ({listed(names)})" for problem, names in problems.items() if names]
    if found:
        raise ValueError(f"the checkpoint does not fit the model; tensors: {'; '.join(found)}")


def resize_vision_positions(positions: Tensor, num_patches: int) -> Tensor:
    """Fit BEIT-3's vision positions to a view of another size, as its authors do for fine-tuning.

    Args:
        positions: (3 + n * n, D) table: two rows that are never used, [CLS], and the patches row by row.
        num_patches: patches of the new view, a square number.

    Returns:
        (3 + num_patches, D), the patches resampled bicubically, the first three rows as they were.
    """
    return torch.cat([positions[:3], _resize_grid(positions[3:], math.isqrt(num_patches))])


def _resize_grid(rows: Tensor, side: int) -> Tensor:
    """Resample a square grid of vectors, given row by row: (n * n, D) -> (side * side, D)."""
    old = math.isqrt(len(rows))
    if old * old != len(rows):
        raise ValueError(f"{len(rows)} positions are no square grid")
    if old == side:
        return rows
    grid = rows.T.reshape(1, -1, old, old)  # (1, D, old, old)
    resized = interpolate(grid.float(), (side, side), mode="bicubic", align_corners=False)
    return resized[0].flatten(1).T.to(rows.dtype).contiguous()


def _shrink_positions(positions: Tensor) -> Tensor:
    """The table (1, 1 + 14 * 14, C) that bicubic resampling turns into `positions` (1, side, side, C).

    Resampling is linear and the same along both axes: G = W X W'. Its pseudo-inverse gives X exactly where it is
    known to exist, that is where G came from a table, or has no more than 14 rows.
    """
    side, exact = positions.shape[1], positions[0].double()
    identity = torch.eye(EFFICIENT_SAM_SIDE, dtype=exact.dtype, device=exact.device)
    weights = interpolate(identity[None, :, :, None], (side, 1), mode="bicubic", align_corners=False)[0, :, :, 0].T
    inverse = torch.linalg.pinv(weights)  # (14, side); `weights` are (side, 14)
    table = torch.einsum("ai,bj,ijc->abc", inverse, inverse, exact)
    error = (torch.einsum("ia,jb,abc->ijc", weights, weights, table) - exact).abs().max()
    if error > 32 * torch.finfo(positions.dtype).eps * exact.abs().max():
        raise ValueError(f"{POSITIONS} was trained at {side} x {side}: no 14 x 14 table, as the original has, fits it")
    cls = table.new_zeros(1, table.shape[-1])
    return torch.cat([cls, table.flatten(0, 1)])[None].to(positions.dtype)


def detect_config(
    state_dict: Mapping[str, Tensor], *, multitask: bool = False, image_size: int = 1024
) -> EvfSamConfig:
    """The configuration of a whole EVF-SAM release, from the names and shapes of its tensors.

    Args:
        state_dict: original name -> tensor, on any device.
        multitask: whether the release was trained on [semantic] prompts too. Its tensors do not tell; SAM-2's
            multitask release also reads photos and chooses masks in another way.
        image_size: side of SAM's view, where the file does not tell (EfficientSAM).

    Raises:
        ValueError: for names that are missing, tensors of a wrong rank, and an unknown SAM-2.
    """
    sam = detect_sam(state_dict, image_size=image_size)
    switches = {
        "sam": {"image_layout": "pad", "mask_selection": "first"},
        "sam2": {"image_layout": "pad_stretch", "mask_selection": "stability"},
        "efficient_sam": {"image_layout": "stretch", "mask_selection": "first"},
    }[sam["model_type"]]
    if multitask and sam["model_type"] == "sam2":
        switches = {"image_layout": "stretch", "mask_selection": "best_iou"}
    return EvfSamConfig(
        multimodal_config=detect_encoder(state_dict), sam_config=sam, semantic_prompts=multitask, **switches
    )


def detect_encoder(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `Beit3Config` for a BEIT-3 file or a release; heads are 64 wide, but at least four."""
    tensors = {release_name(name): tensor for name, tensor in state_dict.items()}
    shape = partial(_shape, tensors)
    beit3 = "mm_extractor.beit3"
    vocabulary, width = shape(f"{beit3}.text_embed.weight", 2)
    patch = shape(f"{beit3}.vision_embed.proj.weight", 4)[-1]
    positions = shape(f"{beit3}.encoder.embed_positions.A.weight", 2)[0]
    return {
        "model_type": "beit3",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": _depth(tensors, f"{beit3}.encoder.layers."),
        "num_attention_heads": max(width // 64, 4),
        "intermediate_size": shape(f"{beit3}.encoder.layers.0.ffn.A.fc1.weight", 2)[0],
        "image_size": math.isqrt(positions - 3) * patch,  # two rows that are never used, and [CLS]
        "patch_size": patch,
        "max_position_embeddings": shape(f"{beit3}.encoder.embed_positions.B.weight", 2)[0],
    }


def detect_sam(state_dict: Mapping[str, Tensor], *, image_size: int = 1024) -> dict[str, Any]:
    """The arguments of `SamConfig`, `Sam2Config` or `EfficientSamConfig`, and `model_type`, for a file or a release.

    Args:
        state_dict: original name -> tensor, on any device.
        image_size: side of SAM's view, where the file does not tell (EfficientSAM).
    """
    tensors = {release_name(name): tensor for name, tensor in state_dict.items()}
    family = family_of(tensors)
    if family == "sam2":
        return _detect_sam2(tensors)
    return _detect_sam(tensors) if family == "sam" else _detect_efficient_sam(tensors, image_size)


def _detect_sam(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """SAM-1, known from shapes: the tables of relative positions tell heads, windows and global layers."""
    shape = partial(_shape, tensors)
    vision = _detect_vit(tensors, mlp="lin1")
    side = shape("visual_model.image_encoder.pos_embed", 4)[1]
    tables = [
        shape(f"visual_model.image_encoder.blocks.{index}.attn.rel_pos_h", 2)
        for index in range(vision["num_hidden_layers"])
    ]
    windows = [(rows + 1) // 2 for rows, _ in tables]
    vision |= {
        "num_attention_heads": vision["hidden_size"] // tables[0][1],
        "image_size": side * vision["patch_size"],
        "window_size": min(windows),
        "global_attn_indexes": [index for index, window in enumerate(windows) if window == side],
    }
    width = shape("visual_model.prompt_encoder.no_mask_embed.weight", 2)[1]
    return {
        "model_type": "sam",
        "vision_config": vision,
        "prompt_encoder_config": {
            "hidden_size": width,
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "mask_input_channels": shape("visual_model.prompt_encoder.mask_downscaling.3.weight", 4)[0],
        },
        "mask_decoder_config": _detect_decoder(tensors, mlp="lin1", head="layers.0"),
    }


def _detect_efficient_sam(tensors: Mapping[str, Tensor], image_size: int) -> dict[str, Any]:
    """EfficientSAM: heads are 64 wide, but at least three."""
    shape = partial(_shape, tensors)
    vision = _detect_vit(tensors, mlp="fc1")
    vision |= {"num_attention_heads": max(vision["hidden_size"] // 64, 3), "image_size": image_size}
    upscaling = "visual_model.mask_decoder.final_output_upscaling_layers"
    decoder = _detect_decoder(tensors, mlp="layers.0.0", head="layers.0.0")
    decoder["upscaling_channels"] = [shape(f"{upscaling}.{conv}.0.weight", 4)[1] for conv in range(2)]
    return {"model_type": "efficient_sam", "vision_config": vision, "mask_decoder_config": decoder}


def _detect_sam2(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """SAM-2: shapes do not tell heads, windows and global blocks, but the four published sizes are known."""
    trunk = "visual_model.image_encoder.trunk"
    found = (_shape(tensors, f"{trunk}.pos_embed", 4)[1], _depth(tensors, f"{trunk}.blocks."))
    for preset in (SAM2_TINY, SAM2_SMALL, SAM2_BASE_PLUS, SAM2_LARGE):
        backbone = preset["vision_config"]["backbone_config"]
        if found == (backbone["hidden_size"], sum(backbone["blocks_per_stage"])):
            return deepcopy(preset)
    raise ValueError(f"no published SAM-2 has width {found[0]} and {found[1]} blocks: pass config= with its sizes")


def _detect_vit(tensors: Mapping[str, Tensor], *, mlp: str) -> dict[str, Any]:
    """What the image encoders of SAM-1 and EfficientSAM have in common; `mlp` is the first layer's name."""
    shape = partial(_shape, tensors)
    encoder = "visual_model.image_encoder"
    width, _, _, patch = shape(f"{encoder}.patch_embed.proj.weight", 4)
    return {
        "hidden_size": width,
        "num_hidden_layers": _depth(tensors, f"{encoder}.blocks."),
        "patch_size": patch,
        "mlp_dim": shape(f"{encoder}.blocks.0.mlp.{mlp}.weight", 2)[0],
        "output_channels": shape(f"{encoder}.neck.0.weight", 4)[0],
        "num_pos_feats": shape("visual_model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 2)[1],
        "initializer_range": 0.02,
    }


def _detect_decoder(tensors: Mapping[str, Tensor], *, mlp: str, head: str) -> dict[str, Any]:
    """A mask decoder; heads are 32 wide, but at least four. `mlp` and `head` name first layers."""
    shape = partial(_shape, tensors)
    decoder = "visual_model.mask_decoder"
    tokens, width = shape(f"{decoder}.mask_tokens.weight", 2)
    inner = shape(f"{decoder}.transformer.final_attn_token_to_image.q_proj.weight", 2)[0]
    return {
        "hidden_size": width,
        "num_hidden_layers": _depth(tensors, f"{decoder}.transformer.layers."),
        "num_attention_heads": max(width // 32, 4),
        "attention_downsample_rate": width // inner,
        "mlp_dim": shape(f"{decoder}.transformer.layers.0.mlp.{mlp}.weight", 2)[0],
        "num_multimask_outputs": tokens - 1,
        "iou_head_hidden_dim": shape(f"{decoder}.iou_prediction_head.{head}.weight", 2)[0],
        "layer_norm_eps": 1e-5,  # as the original; transformers' SAM has 1e-6
    }


def _depth(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many layers have tensors below `prefix`."""
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})


def _shape(tensors: Mapping[str, Tensor], name: str, rank: int) -> tuple[int, ...]:
    """The shape of one tensor, with an error that names it if it is missing or of another rank."""
    if name not in tensors:
        raise ValueError(f"tensor {name} is missing: this is not a whole file of a known family")
    shape = tuple(tensors[name].shape)
    if len(shape) != rank:
        raise ValueError(f"tensor {name} has shape {shape}, but needs {rank} dimensions")
    return shape
