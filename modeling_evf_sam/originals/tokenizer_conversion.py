"""From a sentencepiece model to a tokenizer folder."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.files import whole_folder
from modeling_evf_sam.originals.card import TOKENIZER_USAGE
from modeling_evf_sam.originals.tokenizer import open_sentencepiece, read_sentencepiece
from modeling_evf_sam.originals.weights import file_rows
from modeling_evf_sam.originals.writing import push, refuse_used, tell, write_readme, write_report
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

PROBES = ("zebra top left", "Ünïcode naïve café", "左边的斑马", "  double  spaces\tand tabs ", "the 3rd cup, left", "")


def write_tokenizer(source: Path, output: Path, *, semantic: bool, verify: bool, push_to_hub: str | None) -> None:
    """Write a tokenizer for BEIT-3 whole or not at all, print what was done, and upload it if asked for.

    Raises:
        ValueError: `source` is no sentencepiece model, `output` has files in it, or `verify` finds a difference.
            Nothing is left behind.
    """
    refuse_used(output)
    tokenizer = EvfSamProcessor.from_config(EvfSamConfig(), read_sentencepiece(source, semantic=semantic)).tokenizer
    report: dict[str, Any] = {
        "title": "Tokenizer of BEIT-3",
        "text": f"{len(tokenizer)} tokens, {'with' if semantic else 'without'} `[semantic]`; "
        f"a sentence has {tokenizer.model_max_length} at the most.",
        "sources": file_rows([source]),
        "verified": verify,
    }
    with whole_folder(output) as folder:
        tokenizer.save_pretrained(folder)
        if verify:
            compare_reloaded(source, folder)
        write_readme(folder, report, usage=TOKENIZER_USAGE, names=[], place=push_to_hub or output)
        write_report(folder, report)
    tell(report, output)
    push(output, report, push_to_hub)


def compare_reloaded(source: Path, folder: Path) -> None:
    """Load a tokenizer as any user would, and compare its pieces and some sentences with sentencepiece's own.

    XLM-R's rule: a piece's id is one more than in the file, and unknown pieces, 0 there, are 3.

    Raises:
        ValueError: they differ.
    """
    pieces, tokenizer = open_sentencepiece(source), AutoTokenizer.from_pretrained(folder)
    names = [pieces.id_to_piece(index) for index in range(3, pieces.vocab_size())]
    if tokenizer.convert_ids_to_tokens(list(range(4, pieces.vocab_size() + 1))) != names:
        raise ValueError(f"the tokenizer's pieces differ from those of '{source}' after loading")
    for probe in PROBES:
        expected = [0, *(index + 1 if index else 3 for index in pieces.encode(probe)), 2]
        if tokenizer(probe).input_ids != expected:
            raise ValueError(f"the tokenizer reads {probe!r} otherwise than '{source}' after loading")
