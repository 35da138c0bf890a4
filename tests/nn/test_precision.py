"""What `mixed_precision` comes to on a device."""

from pathlib import Path

import pytest
import torch

from medcodi.nn.precision import autocast, computed_in, has_bf16

CPU, CPUINFO = torch.device("cpu"), Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.is_file(), reason="Linux tells what its CPU can do")
def test_a_cpu_has_bf16_where_it_has_instructions_for_it():
    flags = set(CPUINFO.read_text().split())
    assert has_bf16(CPU) == bool(flags & {"avx512_bf16", "amx_tile"})


def test_auto_takes_what_the_hardware_multiplies_in_and_a_name_is_a_name():
    assert computed_in("auto", CPU) == ("bf16" if has_bf16(CPU) else "no")
    assert [computed_in(name, CPU) for name in ("no", "bf16")] == ["no", "bf16"]
    product = {}
    for name in ("no", "bf16", "auto"):
        with autocast(CPU, name):
            product[name] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert product["no"] is torch.float32 and product["bf16"] is torch.bfloat16
    assert product["auto"] is product[computed_in("auto", CPU)]
