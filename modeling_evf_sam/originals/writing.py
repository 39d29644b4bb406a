"""From converted tensors to a folder that is whole: weights, configuration, processor, card and report."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import HfApi
from rich.console import Console
from rich.progress import track
from torch import Tensor

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.files import whole_folder, write_json
from modeling_evf_sam.hub.card import USE_MODEL, fill
from modeling_evf_sam.modeling_evf_sam import EvfSamModel
from modeling_evf_sam.modeling_evf_sam_video import EvfSamVideoModel
from modeling_evf_sam.originals.card import model_card
from modeling_evf_sam.originals.converting import refuse_misfits
from modeling_evf_sam.originals.names import has_memory
from modeling_evf_sam.originals.reading import refuse_not_finite
from modeling_evf_sam.originals.weights import file_rows, write_weights
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

REPORT = "conversion_report.json"
NO_TOKENIZER = " There is no tokenizer and so no processor: convert again with `--tokenizer beit3.spm`."


@dataclass
class Converted:
    """What is to be written.

    Attributes:
        title: heading of the card.
        text: what it is, for the card.
        config: the model's configuration.
        tensors: name -> tensor, as the weight files have them.
        model_tensors: name -> tensor, as the `state_dict()` of `model_class` has them.
        sources: the files that it was made from.
        names: what the sources are called, to find what they are on the Hub.
        mapped: number of the sources' tensors that went into the result.
        ignored: names of those that have no place in it.
        write_rest: writes what goes beside the weights into a folder.
    """

    title: str
    text: str
    config: EvfSamConfig
    tensors: Mapping[str, Tensor]
    model_tensors: Mapping[str, Tensor]
    sources: list[Path]
    names: list[str]
    mapped: int
    ignored: list[str]
    write_rest: Callable[[Path], None]

    @property
    def model_class(self) -> type[EvfSamModel]:
        """What holds all tensors: with SAM-2's memory the model for videos."""
        return EvfSamVideoModel if has_memory(self.model_tensors) else EvfSamModel


def write_model(
    converted: Converted,
    output: Path,
    *,
    dtype: str | None,
    max_shard_size: str,
    verify: bool,
    push_to_hub: str | None,
) -> None:
    """Write a converted model whole or not at all, print what was done, and upload it if asked for.

    Raises:
        ValueError: the tensors do not fit the model or are not finite, `output` has files in it, or `verify` finds a
            difference. Nothing is left behind.
    """
    refuse_used(output)
    parameters = _check(converted)
    kind = getattr(torch, dtype) if dtype else None
    config = converted.config
    config.architectures, config.dtype = ["EvfSamModel"], kind or _usual_dtype(converted.tensors.values())
    report: dict[str, Any] = {
        "title": converted.title,
        "text": converted.text,
        "dtype": str(config.dtype).removeprefix("torch."),
        "parameters": parameters,
        "tensors": {
            "mapped": converted.mapped,
            "ignored": dict(Counter(map(_group, converted.ignored))),
            "written": len(converted.tensors),
        },
        "verified": verify,
    }
    with whole_folder(output) as folder:
        with ThreadPoolExecutor(1) as pool:  # hashes on one core while another writes
            sources = pool.submit(file_rows, converted.sources)
            digests = write_weights(converted.tensors, folder, dtype=kind, max_shard_size=max_shard_size)
        report["sources"] = sources.result()
        converted.write_rest(folder)
        if verify:
            compare_reloaded(folder, converted.model_tensors, config.dtype, converted.model_class)
        write_readme(folder, report, usage=USE_MODEL, names=converted.names, place=push_to_hub or output)
        write_report(folder, report, digests)
    tell(report, output)
    push(output, report, push_to_hub)


def _check(converted: Converted) -> dict[str, int]:
    """Refuse tensors that do not fit the model or are not finite; returns the parameters of each part."""
    with torch.device("meta"):
        model = converted.model_class(converted.config)
    refuse_misfits(converted.model_tensors, model.state_dict())
    with Console(stderr=True).status("looking for values that are not finite"):
        refuse_not_finite(converted.tensors)
    parts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in model.named_children()}
    return {**parts, "all": sum(parts.values())}


def _usual_dtype(tensors: Iterable[Tensor]) -> torch.dtype:
    return Counter(tensor.dtype for tensor in tensors).most_common(1)[0][0]


def _group(name: str) -> str:
    """The module that a tensor belongs to: `visual_model.memory_encoder`, or `mlm_head`."""
    words = name.split(".")
    return ".".join(words[: 2 if words[0] in ("visual_model", "mm_extractor") else 1])


def compare_reloaded(
    folder: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype, model_class: type[EvfSamModel]
) -> None:
    """Load a result as any user would, and compare each tensor with its source, bit by bit.

    The model holds position codes in float32 whatever the file has; they are compared in the file's float type.

    Raises:
        ValueError: a tensor differs from its source in the result's float type.
    """
    transformers.logging.disable_progress_bar()
    model = model_class.from_pretrained(folder, dtype=dtype)
    state = model.state_dict()
    different = [] if model.dtype == dtype else [f"the float type: {model.dtype}"]
    for name, tensor in track(tensors.items(), "verifying", console=Console(stderr=True)):
        if not torch.equal(state[name].to(dtype), tensor.to(dtype)):
            different.append(name)
    if different:
        raise ValueError(f"{len(different)} tensors differ from their source after loading, first {different[0]}")


def processor_writer(config: EvfSamConfig, tokenizer: Any | None) -> Callable[[Path], None]:
    """What goes beside the weights of our own format: the configuration and, with a tokenizer, the processor."""
    processor = None if tokenizer is None else EvfSamProcessor.from_config(config, tokenizer)

    def write(folder: Path) -> None:
        config.save_pretrained(folder)
        if processor is not None:
            processor.save_pretrained(folder)

    return write


def write_readme(folder: Path, report: dict[str, Any], *, usage: str, names: list[str], place: str | Path) -> None:
    """Write the card; `place` is what the usage section loads."""
    card = model_card(
        title=report["title"],
        text=report["text"],
        usage=fill(usage, place),
        names=names,
        sources=report["sources"],
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def write_report(folder: Path, report: dict[str, Any], digests: Mapping[str, str] | None = None) -> None:
    """Complete the report with the files of the result, and write it beside them."""
    report["results"] = file_rows(sorted(folder.iterdir()), digests)
    write_json(report, str(folder / REPORT))


def refuse_used(output: Path) -> None:
    """Check that nothing of an earlier result can be mixed with the new one.

    Raises:
        ValueError: the folder has files in it.
    """
    if output.is_dir() and any(output.iterdir()):
        raise ValueError(f"'{output}' is not empty: choose a new folder")


def tell(report: dict[str, Any], output: Path) -> None:
    """Print a report."""
    print(f"{report['title']}. {report['text']}")
    if "parameters" in report:
        parts = ", ".join(f"{part} {count:,}" for part, count in report["parameters"].items())
        print(f"parameters ({report['dtype']}): {parts}")
        ignored = ", ".join(f"{group} {count}" for group, count in report["tensors"]["ignored"].items())
        print(
            f"tensors: {report['tensors']['mapped']} mapped, {report['tensors']['written']} written; "
            f"ignored: {ignored or 'none'}"
        )
    for row in report["sources"]:
        print(f"from {row['file']}: {row['bytes']:,} bytes, sha256 {row['sha256']}")
    for row in report["results"]:
        print(f"{output / row['file']}: {row['bytes']:,} bytes, sha256 {row['sha256']}")
    print(f"{output / REPORT}: {'verified' if report['verified'] else 'not verified, see --verify'}")


def push(output: Path, report: dict[str, Any], repository: str | None) -> None:
    """Upload the files of a report to the Hub."""
    if repository is None:
        return
    files = [row["file"] for row in report["results"]]
    hub = HfApi()
    with Console(stderr=True).status(f"uploading to {repository}"):
        hub.create_repo(repository, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=output, allow_patterns=[*files, REPORT])
    print(f"uploaded to {repository}")
