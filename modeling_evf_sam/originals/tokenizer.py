"""BEIT-3's tokenizer: from its sentencepiece model or from a folder, and whether a model has a row for each token."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer, PreTrainedConfig

from modeling_evf_sam.configuration_evf_sam import EvfSamConfig
from modeling_evf_sam.processing_evf_sam import SEMANTIC_TOKEN

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

SENTENCEPIECE = "sentencepiece.bpe.model"  # the name that XLM-R's tokenizer looks for
VOCABULARIES = ("tokenizer.json", SENTENCEPIECE)  # a folder with a tokenizer has one of them
TOKENIZER_FILES = (*VOCABULARIES, "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json")
TOKENIZER_CONFIG = json.dumps({"tokenizer_class": "XLMRobertaTokenizer"}, indent=2) + "\n"


def read_tokenizer(folder: Path) -> Any | None:
    """The tokenizer in a folder; None where there is none."""
    if not any((folder / name).is_file() for name in VOCABULARIES):
        return None
    # With a configuration of no kind, or transformers looks for one that it knows in the folder's config.json.
    return AutoTokenizer.from_pretrained(folder, config=PreTrainedConfig())


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


def open_sentencepiece(file: Path) -> "SentencePieceProcessor":
    """A sentencepiece model; a ValueError says what is wrong with the file."""
    from sentencepiece import SentencePieceProcessor

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
    rows = config.get_text_config().vocab_size
    if len(tokenizer) > rows:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {rows}: give the model's own tokenizer"
        )
