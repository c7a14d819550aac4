"""Drawings: a picture for each idea, of the numbers of an answer that you have.

Each function takes what `memcalc.model`, `memcalc.serve` or `memcalc.train` returned and gives a `Picture`,
which a notebook shows: `drawings.step(memcalc.train("meta-llama/Llama-3.1-8B", seq=4096))`.

| drawing | chapters that it belongs to |
| :--- | :--- |
| `transformer(model)` | transformer_in_shapes, handbook_parameters, forty_lines |
| `attention(models)` | what_leaves_little_behind, handbook_kv_cache |
| `keeps(model, contexts)` | what_leaves_little_behind, rope_extension, handbook_kv_cache |
| `experts(model)` | handbook_parameters, one_gpu_and_a_lot_of_ram, qwen3_235b_on_8_and_4 |
| `quantised(name, rows, columns)` | handbook_formats, handbook_checkpoints, bytes |
| `cut(model, ranks)` | handbook_splits, how_many_devices_share_it |
| `adapter(model, rank)` | lora_and_qlora |
| `phases(prompted, finished)` | on_a_napkin, handbook_forward_pass |
| `card(served)` | on_a_napkin, qwen3_32b_on_96_gb, a_note_says_16_gb |
| `blocks(served, lengths)` | handbook_engines, handbook_kv_cache, qwen3_32b_on_96_gb |
| `host_and_card(served)` | one_gpu_and_a_lot_of_ram, handbook_placement |
| `server(served, of=8)` | servers_of_npus, qwen3_235b_on_8_and_4 |
| `step(trained)` | what_does_one_step_hold, what_does_backward_need, the_five_levels |
| `rungs(steps)` | the_five_levels, it_does_not_fit, what_does_backward_need |
| `one_card(trained)` | four_models_on_one_card |
| `sharing(alone, steps)` | how_many_devices_share_it, how_many_devices_for_100b |
| `pipeline(trained)` | how_many_devices_share_it, how_many_devices_for_100b |
"""

from __future__ import annotations

from memcalc.data.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memcalc.show.drawings.matrices import adapter as adapter, cut as cut, quantised as quantised
    from memcalc.show.drawings.models import (
        attention as attention,
        experts as experts,
        keeps as keeps,
        transformer as transformer,
    )
    from memcalc.show.drawings.serving import (
        blocks as blocks,
        card as card,
        host_and_card as host_and_card,
        phases as phases,
        server as server,
    )
    from memcalc.show.drawings.training import (
        one_card as one_card,
        pipeline as pipeline,
        rungs as rungs,
        sharing as sharing,
        step as step,
    )

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "matrices": ("adapter", "cut", "quantised"),
        "models": ("attention", "experts", "keeps", "transformer"),
        "serving": ("blocks", "card", "host_and_card", "phases", "server"),
        "training": ("one_card", "pipeline", "rungs", "sharing", "step"),
    },
)
