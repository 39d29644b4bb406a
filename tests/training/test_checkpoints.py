import pytest

from modeling_evf_sam.training.checkpoints import STAGING, newest_checkpoint, publish


def save(output, step, keep=5):
    staging = output / STAGING / f"checkpoint-{step}"
    (staging / "sharded").mkdir(parents=True)
    (staging / "model.safetensors").write_bytes(b"weights")
    (staging / "sharded" / "optimizer").write_bytes(b"state")
    publish(staging, output / f"checkpoint-{step}", keep=keep)
    return output / f"checkpoint-{step}"


def test_the_newest_one_by_step(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "nothing") is None
    for step in (9, 10):
        assert newest_checkpoint(tmp_path / ".") != save(tmp_path, step) == newest_checkpoint(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "short", "unmarked", "bad marker"])
def test_one_that_is_not_whole_is_passed_over_and_named(tmp_path, damage, caplog):
    whole, newer = save(tmp_path, 9), save(tmp_path, 10)
    if damage == "missing":
        (newer / "sharded" / "optimizer").unlink()
    elif damage == "short":
        (newer / "model.safetensors").write_bytes(b"weight")
    elif damage == "unmarked":
        (newer / "complete.json").unlink()
    else:
        (newer / "complete.json").write_text("[")
    assert newest_checkpoint(tmp_path) == whole
    assert f"{newer} is not whole" in caplog.text


def test_the_oldest_are_deleted_and_an_unfinished_one_replaced(tmp_path):
    for step in (8, 9, 10, 11):
        save(tmp_path, step, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-11"]
    (tmp_path / "checkpoint-11" / "model.safetensors").unlink()
    assert save(tmp_path, 11) == newest_checkpoint(tmp_path)
