"""What was measured of vLLM's versions: records of memcalc/data/constants.py, a version's together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memcalc.data import constants

if TYPE_CHECKING:
    from memcalc.data.constants import Measured
    from memcalc.serving.engines.base import RankContext

__all__ = ["V0", "V0_11", "V0_17", "V0_21", "V0_29", "Behaviour"]


class Behaviour(NamedTuple):
    """What was measured with some versions, see memcalc/data/constants.py for the units.

    `sampler` is what the profile run takes by the vocabulary, `tokens` by the tokens; `expert_workspace` says
    whether experts keep theirs beside the logits; `non_torch` lies outside PyTorch's allocator, on a rank
    that is alone and on one that talks to others; captured `graphs` are inside the share (`graphs_inside`) or
    come on top of it, and follow the sizes that are captured (`graphs_by_size`). `whole_prompts`: the profile
    run reads the longest sequence in one piece. `sharded_sampling`: a rank samples from its own logits.
    `measured_on` is the maker of the devices.
    """

    sampler: Measured
    tokens: Measured
    expert_workspace: bool
    non_torch: tuple[Measured, Measured]
    graphs: Measured
    graphs_by_size: bool = False
    graphs_inside: bool = False
    whole_prompts: bool = False
    sharded_sampling: bool = False
    measured_on: str = "NVIDIA"

    def evidence(self, rank: RankContext) -> str:
        """Say what its figures are worth on the rank's device: measured on its maker's, assumed elsewhere."""
        unnamed = rank.device is None and self.measured_on
        return (
            "measured" if unnamed or (rank.device and rank.device.vendor == self.measured_on) else "assumed"
        )


V0_11 = Behaviour(
    sampler=constants.VLLM_0_11_SAMPLER,
    tokens=constants.VLLM_0_11_TOKENS,
    expert_workspace=False,
    non_torch=(constants.VLLM_0_11_NON_TORCH, constants.VLLM_0_11_NON_TORCH_ON_RANKS),
    graphs=constants.VLLM_0_11_GRAPHS,
)
V0 = V0_11._replace(
    sampler=constants.VLLM_V0_SAMPLER,
    non_torch=(constants.VLLM_V0_NON_TORCH, constants.VLLM_V0_NON_TORCH_ON_RANKS),
    whole_prompts=True,
)
V0_17 = Behaviour(
    sampler=constants.VLLM_0_17_SAMPLER,
    tokens=constants.VLLM_0_17_TOKENS,
    expert_workspace=True,
    non_torch=(constants.VLLM_0_17_NON_TORCH, constants.VLLM_0_17_NON_TORCH_ON_RANKS),
    graphs=constants.VLLM_0_17_GRAPHS,
    graphs_by_size=True,
)
V0_21 = V0_17._replace(graphs=constants.VLLM_0_21_GRAPHS, graphs_inside=True)
V0_29 = V0_21._replace(sampler=constants.VLLM_0_29_SAMPLER, sharded_sampling=True)
