"""Tensors of original files for our model, and back.

Works for whole EVF-SAM releases and for single SAM, SAM-2, SAM-2.1, EfficientSAM and BEIT-3 files, on any device. The
tables are in `names`.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modeling_evf_sam.originals.names import IGNORED, SAM2_VIDEO, family_of, release_name, translate
from modeling_evf_sam.originals.reading import listed
from modeling_evf_sam.originals.sizes import shape_of

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
        side = image_size // shape_of(converted, "sam.vision_encoder.patch_embed.projection.weight", 4)[-1]
        _, _, width = shape_of(converted, POSITIONS, 3)  # (1, 1 + 14 * 14, C), the [CLS] first
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
