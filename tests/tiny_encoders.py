"""Encoders other than BEIT-3 at the sizes of the golden one, and tokenizers for them."""

from tokenizers.pre_tokenizers import ByteLevel
from transformers import BertTokenizer, CLIPTokenizer

from tests.golden import GOLDEN_ENCODER

LAYERS = {"num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
VIEW = {"image_size": 32, "patch_size": 8}

BEIT3 = {**GOLDEN_ENCODER, "vocab_size": 403}  # as many as the tiny tokenizer has
VILT = {
    "model_type": "vilt",
    "vocab_size": 120,
    "hidden_size": 32,
    "max_position_embeddings": 20,
    "initializer_range": 0.2,
    **LAYERS,
    **VIEW,
}
CLIP = {
    "model_type": "clip",
    "projection_dim": 24,
    "text_config": {
        "vocab_size": 520,
        "hidden_size": 32,
        "max_position_embeddings": 20,
        "bos_token_id": 518,
        "eos_token_id": 519,
        "pad_token_id": 519,
        **LAYERS,
    },
    "vision_config": {"hidden_size": 40, **LAYERS, **VIEW},
}
LAST_TOKEN = 519  # CLIP reads a sentence at this one


def clip_tokenizer() -> CLIPTokenizer:
    """Bytes, "re", "red", and numbers for start and end that fit `CLIP`."""
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "re", "red</w>", "ed", "cu", "cup</w>", "x"]
    pieces = list(dict.fromkeys(pieces))
    pieces += [f"unused{index}" for index in range(518 - len(pieces))]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=[("r", "e"), ("re", "d</w>")])


def bert_tokenizer() -> BertTokenizer:
    """Eleven pieces."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "cup", "##s", "[", "]", "cls"]
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)})
