"""What transformers' own quantised layers hold: names, shapes and bytes of their arrays."""

from __future__ import annotations

import warnings

import pytest
import torch
from transformers.integrations.eetq import EetqLinear
from transformers.integrations.fbgemm_fp8 import FbgemmFp8Linear

from memcalc.files.quantization import scheme
from memcalc.files.quantizers import arrays_of

with warnings.catch_warnings():
    # torch's compiler, which it loads, warns about itself
    warnings.simplefilter("ignore", DeprecationWarning)
    from transformers.integrations.bitnet import BitLinear

LAYERS = {
    "bitnet": lambda rows, columns: BitLinear(columns, rows, bias=False, dtype=torch.bfloat16),
    "eetq": lambda rows, columns: EetqLinear(columns, rows, bias=False),
    "fbgemm_fp8": lambda rows, columns: FbgemmFp8Linear(columns, rows, bias=False),
}


@pytest.mark.parametrize("method", LAYERS)
@pytest.mark.parametrize(("rows", "columns"), [(64, 96), (4, 3), (128, 32)])
def test_a_quantised_layer_holds_these_arrays(method, rows, columns):
    held = {f".{name}": item for name, item in LAYERS[method](rows, columns).state_dict().items()}
    form = scheme({"quant_method": method}).format
    arrays = arrays_of(method, form, (rows, columns), set(), is_expert=False)
    needed = {name: array for name, array in arrays.items() if not array.optional}
    assert {name: tuple(item.shape) for name, item in held.items()} == {
        name: array.shape or (1,) for name, array in needed.items()
    }
    assert sum(item.nbytes for item in held.values()) == form.bytes(rows, columns)
    assert sum(array.bytes(None) for array in needed.values()) == form.bytes(rows, columns)
