"""Drawings: a picture for each idea, of the numbers of an answer that you have.

Each function takes what `memcalc.model`, `memcalc.serve` or `memcalc.train` returned and gives a `Picture`,
which a notebook shows: `drawings.step(memcalc.train("meta-llama/Llama-3.1-8B", seq=4096))`.

| drawing | chapters that it belongs to |
| :--- | :--- |
| `transformer(model)` | transformer_in_shapes, handbook_parameters, forty_lines |
| `attention(models)` | what_leaves_little_behind, handbook_kv_cache |
| `step(trained)` | what_does_one_step_hold, what_does_backward_need, the_five_levels |
| `sharing(alone, steps)` | how_many_devices_share_it, how_many_devices_for_100b |
"""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.show.drawings.models import attention as attention, transformer as transformer
    from memcalc.show.drawings.training import sharing as sharing, step as step

__getattr__, __dir__ = lazy_names(
    __name__, {"models": ("attention", "transformer"), "training": ("sharing", "step")}
)
