import time

import pytest
import torch

from modeling_evf_sam.bench.measuring import Action, measure, peak_memory

CPU = torch.device("cpu")


def test_actions_take_turns_after_an_untimed_one():
    seen = []
    actions = [Action(what=name, run=lambda name=name: seen.append(name)) for name in "ab"]
    measurements = measure(actions, repeats=3, device=CPU)
    assert seen == ["a", "b"] * 4
    assert [len(measurement.seconds) for measurement in measurements] == [3, 3]


def test_a_measurement_has_time_flops_and_rate():
    left = torch.ones(16, 16)
    (measurement,) = measure(
        [Action(what="product", run=lambda: (time.sleep(0.02), left @ left))], repeats=2, device=CPU
    )
    assert measurement.flops == 2 * 16**3
    assert measurement.median >= 0.02
    assert measurement.rate == measurement.flops / measurement.median


def test_memory_that_is_given_back_is_seen():
    with peak_memory(CPU) as grown:
        block = torch.ones(2**25)  # 134 MB
        time.sleep(0.2)
        del block
    assert 100e6 < grown[0] < 400e6


def test_no_repeats_are_refused():
    with pytest.raises(ValueError, match="repeats must be at least 1, not 0"):
        measure([], repeats=0, device=CPU)
