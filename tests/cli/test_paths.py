from evf_sam_cli.paths import PHOTO_SUFFIXES
from modeling_evf_sam.segment_dataset import reading


def test_both_commands_look_for_the_same_files():
    assert set(PHOTO_SUFFIXES) == reading.PHOTO_SUFFIXES
