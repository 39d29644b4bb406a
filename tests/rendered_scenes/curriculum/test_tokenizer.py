import string

import pytest

from modeling_evf_sam.rendered_scenes.curriculum.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(vocab_size=4000, max_length=62, num_expressions=2000)


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("the leftmost purple triangle", ["▁the", "▁leftmost", "▁purple", "▁triangle"]),
        ("the giraffe beside the kitchen table", ["▁the", "▁giraffe", "▁beside", "▁the", "▁kitchen", "▁table"]),
        ("[semantic] red star", ["[semantic]", "▁red", "▁star"]),
    ],
)
def test_words_of_scenes_and_of_plain_english_are_whole(tokenizer, sentence, tokens):
    assert tokenizer.tokenize(sentence) == tokens


@pytest.mark.parametrize("sentence", ["An astronaut in ZERO gravity", string.printable[:94]])
def test_other_words_are_spelt(tokenizer, sentence):
    ids = tokenizer(sentence)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert "".join(tokenizer.convert_ids_to_tokens(ids)[1:-1]).replace("▁", " ").strip() == sentence
    assert len(tokenizer) <= 4000 + 4


def test_it_follows_from_its_arguments(tokenizer):
    again = train_tokenizer(vocab_size=4000, max_length=62, num_expressions=2000)
    assert again.get_vocab() == tokenizer.get_vocab()
