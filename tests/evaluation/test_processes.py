import pytest

from modeling_evf_sam.evaluation.processes import Processes, joined_processes
from tests.evaluation.test_dump import RESULT


@pytest.mark.parametrize(("photos", "count"), [(0, 2), (1, 2), (5, 1), (5, 2), (7, 3), (2, 8)])
def test_every_photo_belongs_to_one_process(photos, count):
    shares = [Processes(rank, count).share(photos) for rank in range(count)]
    assert sorted(photo for share in shares for photo in share) == list(range(photos))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_single_process_needs_no_others(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_processes() as processes:
        assert processes == Processes(0, 1)
        assert processes.join(RESULT) is RESULT
