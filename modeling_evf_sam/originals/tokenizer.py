"""Reading what the user names: weights, the files that they come from, and BEIT-3's tokenizer."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sentencepiece import SentencePieceProcessor
from torch import Tensor
from transformers import AutoTokenizer

from modeling_evf_sam import EvfSamConfig
from modeling_evf_sam.originals.reading import PICKLES, find_weights, read_tensors
from modeling_evf_sam.processing_evf_sam import SEMANTIC_TOKEN

SENTENCEPIECE = "sentencepiece.bpe.model"  # the name that XLM-R's tokenizer looks for
TOKENIZER_FILES = ("tokenizer.json", SENTENCEPIECE, "tokenizer_config.json", "added_tokens.json")
TOKENIZER_CONFIG = json.dumps({"tokenizer_class": "XLMRobertaTokenizer"}, indent=2) + "\n"


def read_source(path: Path, *, use_pickle: bool = False) -> tuple[dict[str, Tensor], list[Path]]:
    """The tensors of a file or folder, mapped into memory, and the files that they lie in.

    A pickle is read where `path` is that file itself, or `use_pickle` is true.
    """
    allowed = use_pickle or path.suffix in PICKLES
    tensors = read_tensors(path, allow_pickle=allowed)
    if path.is_dir():
        path = find_weights(path, allowed)
    if not path.name.endswith(".index.json"):
        return tensors, [path]
    shards = set(json.loads(path.read_text())["weight_map"].values())
    return tensors, [path, *(path.parent / shard for shard in sorted(shards))]


def read_sentencepiece(file: Path, *, semantic: bool) -> Any:
    """An XLM-R tokenizer from a sentencepiece model, with "[semantic]" as a token of its own if asked for.

    transformers builds it right only from a folder in which the model has a certain name.

    Raises:
        ValueError: the file is no sentencepiece model.
    """
    open_sentencepiece(file)
    with TemporaryDirectory() as folder:
        shutil.copyfile(file, Path(folder, SENTENCEPIECE))
        Path(folder, "tokenizer_config.json").write_text(TOKENIZER_CONFIG)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if semantic:
        tokenizer.add_special_tokens({"additional_special_tokens": [SEMANTIC_TOKEN]})
    return tokenizer


def open_sentencepiece(file: Path) -> SentencePieceProcessor:
    """A sentencepiece model; a ValueError says what is wrong with the file."""
    if not file.is_file():
        raise FileNotFoundError(f"tokenizer '{file}' does not exist: check the path")
    try:
        return SentencePieceProcessor(model_file=str(file))
    except RuntimeError as error:
        raise ValueError(f"'{file}' is no sentencepiece model: give BEIT-3's beit3.spm") from error


def refuse_long_vocabulary(tokenizer: Any, config: EvfSamConfig) -> None:
    """Check that the model has a row for each token.

    Raises:
        ValueError: it has not.
    """
    rows = config.multimodal_config.vocab_size
    if len(tokenizer) > rows:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {rows}: give the model's own tokenizer"
        )
