import pytest

from hamgan.errors import UserError
from hamgan.tpu_check.chips import CHIPS, parse_topology


@pytest.mark.parametrize(("text", "cores"), [("v5e:2x4", 8), ("v3:2x2", 8), ("v4:2x2x1", 4), ("v6e:1x1", 1)])
def test_topology_is_parsed_and_counted_in_cores(text, cores):
    topology = parse_topology(text)
    assert topology.name == text
    assert topology.num_cores == cores


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5e", "expected CHIP:SHAPE"),
        ("v5e:8", "expected CHIP:SHAPE"),
        ("v5e:2x4x", "expected CHIP:SHAPE"),
        ("v5:2x4", "unknown chip 'v5'; did you mean 'v5"),
        ("h100:2x4", "unknown chip 'h100'; known chips: v3, v4"),
        ("v5e:0x4", "at least one chip along each axis"),
    ],
)
def test_invalid_topology_is_rejected(text, message):
    with pytest.raises(UserError, match=message):
        parse_topology(text)


def test_specifications_are_per_core():
    v3, v5e = CHIPS["v3"], CHIPS["v5e"]
    assert (v3.peak_flops, v3.memory, v3.bandwidth) == (61.5e12, 16 * 2**30, 450e9)
    assert (v5e.peak_flops, v5e.memory, v5e.bandwidth) == (197e12, 16e9, 819e9)
