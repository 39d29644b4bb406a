"""A small tokenizer in XLM-R's layout, trained on the sentences of the rendered scenes and on plain English."""

import io
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from modeling_evf_sam.processing_evf_sam import SEMANTIC_TOKEN
from modeling_evf_sam.rendered_scenes.dataset import expression_corpus

ENGLISH = files(__package__) / "english.txt"  # a sentence on each line, for pieces of other words


def english_sentences() -> list[str]:
    """Plain English that the package carries."""
    return ENGLISH.read_text(encoding="utf-8").splitlines()


def _corpus(num_expressions: int) -> Iterator[str]:
    yield from expression_corpus(num_expressions)
    for sentence in english_sentences():
        yield sentence
        yield ", ".join(sentence.split())  # a word becomes a piece only where it is a part of another, such as "cup,"


def train_pieces(*, vocab_size: int, num_expressions: int) -> bytes:
    """Train a sentencepiece model, and give what its file holds."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_corpus(num_expressions),
        model_writer=model,
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
    )
    return model.getvalue()


def train_tokenizer(*, vocab_size: int, max_length: int, num_expressions: int = 40_000) -> PreTrainedTokenizerBase:
    """Train a sentencepiece model and load it as an XLM-R tokenizer with a `[semantic]` token.

    Args:
        vocab_size: number of pieces at the most; the tokenizer has three special tokens more.
        max_length: longest sentence, in tokens.
        num_expressions: sentences of the rendered scenes to train on.
    """
    pieces = train_pieces(vocab_size=vocab_size, num_expressions=num_expressions)
    with TemporaryDirectory() as folder:
        Path(folder, "sentencepiece.bpe.model").write_bytes(pieces)
        settings = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": max_length}
        Path(folder, "tokenizer_config.json").write_text(json.dumps(settings))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": [SEMANTIC_TOKEN]})
    return tokenizer
