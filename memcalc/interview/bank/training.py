"""Questions about training: states, activations, the loss, adapters, sharing, preferences and rewards."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

from memcalc.files.api import model
from memcalc.interview.bank.models import DENSE, EXPERTS
from memcalc.interview.bank.steps import (
    first_with_more_scores,
    gpt_layer,
    layer_kept,
    line,
    numbers,
    step,
    stored,
)
from memcalc.interview.facts import model_facts
from memcalc.interview.template import Option, Row, Template, Wrong
from memcalc.training import OPTIMIZERS, TrainingParallelism, states

if TYPE_CHECKING:
    from types import SimpleNamespace

    from memcalc.training import TrainingEstimate

__all__ = ["TEMPLATES"]

BILLIONS = (*range(1, 17), 20, 24, 27, 30, 32, 34, 40, 65, 70, 72, 104, 180, 405)
LLAMAS = (
    "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf", "meta-llama/Llama-3.2-1B",
    "meta-llama/Llama-3.2-3B", "meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-3.3-70B-Instruct",
    "mistralai/Mistral-7B-v0.3", "Qwen/Qwen2.5-7B-Instruct",
)  # fmt: skip
"""Models whose layer is Llama's: no norms of queries and keys, and heads that fill the width."""
VOCABULARIES = (
    "meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-2-7b-hf", "Qwen/Qwen3-8B", "Qwen/Qwen2.5-7B-Instruct",
    "mistralai/Mistral-7B-v0.3", "microsoft/phi-4",
)  # fmt: skip
"""Models that differ in their vocabulary."""
SIDES = (1024, 2048, 3072, 4096, 5120, 8192)
LENGTHS = (2048, 4096, 8192, 16384, 32768)
GPT = {"width": (2048, 4096, 5120, 6144, 8192, 9216), "heads": (16, 32, 40, 48, 64, 72),
       "context": (1024, 1536, 2048, 3072, 4096)}  # fmt: skip


def inputs_kept(drawn: SimpleNamespace) -> int:
    """Return what the layers of a drawn model keep with full checkpointing."""
    asked = step(drawn.model, seq=drawn.context, regime="pure-bf16", recompute="full")
    return asked.stage.tensors.layers_kept


def muon(drawn: SimpleNamespace) -> int:
    """Return Muon's states of a drawn model."""
    regime = {32: "fp32", 16: "pure-bf16"}[drawn.bits]
    return step(drawn.model, seq=512, optimizer="muon", regime=regime).at("step")["optimizer"]


def kv_width(drawn: SimpleNamespace) -> int:
    """Return how many numbers a key of a drawn model has, in all of its heads."""
    facts = model_facts(drawn.model)
    return facts["kv_heads"] * facts["head_dim"]


def not_in_matrices(drawn: SimpleNamespace) -> int:
    """Return the numbers of a drawn model outside of its layers' matrices."""
    return model(drawn.model).parameters - numbers(drawn.model, "matrix")


def adapted(drawn: SimpleNamespace, **more: Any) -> TrainingEstimate:
    """Return a step of a drawn model with adapters, beside all linear layers if nothing else is said."""
    return step(drawn.model, seq=512, regime="pure-bf16", lora_rank=drawn.rank, **more)


def copies_for_adapters(drawn: SimpleNamespace) -> int:
    """Return the copies that adapters in 32 bits make of their inputs, in a layer of a drawn model."""
    kept = layer_kept(drawn.model, seq=drawn.context, lora_rank=8, autocast=False, recompute="none")
    return sum(size for name, size in kept.items() if "input for its adapter" in name)


QUANTISED = ("weights", "scales of quantised matrices")
MATRICES = {
    "matrices": lambda drawn: numbers(drawn.model, "matrix"),
    "others": not_in_matrices,
    "trained": lambda drawn: adapted(drawn).trainable_parameters,
}
EXPERT_SIZES = {
    "in_experts": lambda drawn: numbers(drawn.model, "expert"),
    "wide": lambda drawn: 2 * numbers(drawn.model, "expert"),
    "narrow": lambda drawn: model(drawn.model).parameters // 2,
    "active": lambda drawn: model(drawn.model).active_parameters // 2,
}


def tables(drawn: SimpleNamespace) -> int:
    """Return the bytes of NF4's tables, 16 numbers for each matrix in transformers: phi-4 joins some."""
    weights = adapted(drawn, quantize_base="nf4").plan.model.weights()
    return 64 * sum(weight.copies for weight in weights if weight.kind == "matrix")


def galore(drawn: SimpleNamespace) -> int:
    """Return moments and projections of a drawn model's matrices with GaLore, in 16 bits."""
    matrices = (weight for weight in model(drawn.model).weights() if weight.kind == "matrix")
    shapes = ((weight.copies, *sorted(weight.stored_shape)) for weight in matrices)
    return sum(2 * copies * drawn.rank * (2 * long + short) for copies, short, long in shapes)


def layer_numbers(drawn: SimpleNamespace) -> int:
    """Return how many numbers a layer of a drawn model has."""
    read = model(drawn.model)
    return sum(weight.count for weight in read.weights() if "{layer}" in weight.name) // read.depth


def needs_zero_1(drawn: SimpleNamespace) -> bool:
    """Whether states have room with more than one rank, and not to the last byte."""
    left = drawn.room - 4 * drawn.billions
    return 0.4 * drawn.billions < left < 6 * drawn.billions and 12 * drawn.billions % left > 0


def fewest_ranks(drawn: SimpleNamespace) -> int:
    """Return the fewest ranks of ZeRO-1 with which a drawn model's states have room."""
    ranks = (each for each in range(1, 10**4) if held_by_rank(drawn, each) <= drawn.room * 10**9)
    return next(ranks)


def held_by_rank(drawn: SimpleNamespace, ranks: int) -> int:
    """Return the states of a drawn size on one of some ranks with ZeRO-1."""
    return states(drawn.billions * 10**9, shard=1, world=ranks).total_bytes


def interleaved(drawn: SimpleNamespace) -> Fraction:
    """Return how many times as many activations a drawn first stage keeps as without interleaving."""
    pipeline = TrainingParallelism(world=drawn.stages, pp=drawn.stages, vpp=drawn.chunks)
    return Fraction(pipeline.in_flight(0, 1024), drawn.chunks * drawn.stages)


def frozen(drawn: SimpleNamespace) -> int:
    """Return the weights of a model of a drawn size that is not trained, in 16 bits."""
    return states(drawn.billions * 10**9).components["weights"]


def fewest_cards(drawn: SimpleNamespace) -> int:
    """Return the fewest drawn cards that hold all states of a drawn size, shared to the last byte."""
    gradients = {16: "bf16", 18: "fp32"}[drawn.each]
    return ceil(states(drawn.billions * 10**9, gradients=gradients).total_bytes / (drawn.room * 10**9))


def with_tp(drawn: SimpleNamespace, hidden: int = 1) -> int:
    """Return what a drawn layer of GPT keeps on a rank of tensor parallelism, its scores recomputed."""
    heads = drawn.width // 128
    return gpt_layer(drawn.context, drawn.width, heads, selective=True, inner=drawn.ranks, hidden=hidden)


def megatron_states(drawn: SimpleNamespace) -> int:
    """Return weights, gradients and AdamW's states of a drawn model on a rank of tensor parallelism."""
    asked = step(
        drawn.model,
        seq=512,
        implementation="megatron",
        world=drawn.ranks,
        tp=drawn.ranks,
        dropout=0,
        vocab_multiple=1,
    )
    return line(asked, "weights", "fp32 master copy", "gradients", "adamw states")


IN_HOST = ("fp32 master copy", "adamw states", "gradients in fp32 for the master copy")


def has_experts_for(drawn: SimpleNamespace) -> bool:
    """Whether ranks can share a drawn model's experts evenly."""
    return model_facts(drawn.model)["experts"] % drawn.ranks == 0


def routed(drawn: SimpleNamespace) -> int:
    """Return how many numbers a drawn model has in routed experts."""
    return sum(one.count for one in model(drawn.model).weights() if one.active_experts is not None)


def weights_with_ep(drawn: SimpleNamespace) -> int:
    """Return a drawn model's weights on a rank of expert parallelism, in 16 bits."""
    return 2 * sum(weight.on_rank(ep=drawn.ranks).count for weight in model(drawn.model).weights())


def fine_tune(drawn: SimpleNamespace) -> int:
    """Return states, inputs of layers and the loss of a drawn model."""
    asked = step(drawn.model, seq=drawn.context, recompute="full")
    held = states(model(drawn.model)).total_bytes + asked.stage.tensors.layers_kept
    return held + asked.at("loss")["logits"]


def rollouts(drawn: SimpleNamespace) -> int:
    """Return the KV cache of all answers that a drawn model writes at once."""
    asked = step(drawn.model, seq=drawn.context, method="grpo", num_generations=drawn.answers)
    return asked.at("rollout")["kv_cache"]


def is_gpt(drawn: SimpleNamespace) -> bool:
    """Whether heads are as wide as GPT-3's."""
    return bool(drawn.width == 128 * drawn.heads)


STATES = (
    Template(
        id="states-of-adamw", topic="training", subject="States", difficulty="easy", by_hand=True,
        title="How much do weights, gradients and AdamW's states take in mixed precision?",
        draws={"billions": BILLIONS},
        question="A model of {billions} billion parameters is trained with AdamW in mixed precision: weights "
        "and gradients in 16 bits, a master copy of the weights and both moments in 32 bits. How many GB do "
        "these five arrays take together, if nothing is shared out?",
        steps="each = 2 * 2 + 3 * 4; states = each * billions * 10**9", unit="GB",
        ledger=lambda drawn: states(drawn.billions * 10**9).total_bytes,
        wrong=(Wrong("states = 2 * billions * 10**9", "these are the weights alone, as in inference"),
               Wrong("states = (2 * 2 + 2 * 4) * billions * 10**9",
                     "the master copy of the weights is missing"),
               Wrong("states = (2 + 3 * 4) * billions * 10**9", "the gradients are missing")),
        hints=("Write the five arrays down, each with its bytes.", "Two arrays of 2 bytes, three of 4."),
        further="And what is not among them? (Activations, logits, and what a step needs for a moment.)",
        source="arXiv 1910.02054, section 3.1", chapter="what_does_one_step_hold",
    ),
    Template(
        id="main-gradient", topic="training", subject="States", difficulty="easy", by_hand=True,
        title="How much does an fp32 gradient add to 16 bytes a parameter?", draws={"billions": BILLIONS},
        question="In mixed precision a parameter takes 16 bytes if its gradient has 16 bits. Megatron-LM "
        "accumulates gradients in 32 bits instead, and keeps no 16-bit copy of them (BF16, no distributed "
        "optimizer). How many GB do weights, gradients and AdamW's states of {billions} billion parameters "
        "take then?", steps="each = 16 - 2 + 4; states = each * billions * 10**9", unit="GB",
        ledger=lambda drawn: states(drawn.billions * 10**9, gradients="fp32").total_bytes,
        wrong=(Wrong("states = 16 * billions * 10**9", "the gradient has 4 bytes here, not 2"),
               Wrong("states = 20 * billions * 10**9",
                     "20 is right where a 16-bit gradient is kept as well")),
        hints=("Which of the arrays changes its width?", "The gradient takes 4 bytes instead of 2."),
        further="When is it 20? (With FP16 in Megatron-LM, or wherever gradients of both kinds are kept.)",
        source="NVIDIA/Megatron-LM, docs/user-guide/features/dist_optimizer.md",
        chapter="what_does_one_step_hold",
    ),
    Template(
        id="mistakes-in-bytes-a-parameter", topic="training", subject="States", difficulty="medium",
        kind="mistakes",
        title="Find the mistakes: bytes a parameter in training", take=5,
        question="Someone lists what weights, gradients and optimizer states take. Which rows are wrong?",
        rows=(Row("AdamW, everything in fp32: 16 bytes a parameter"),
              Row("SGD without momentum, fp32: 8 bytes"), Row("PyTorch's AdamW on a model in BF16: 8 bytes"),
              Row("Megatron-LM, BF16, gradients in fp32: 18 bytes"),
              Row("Autocast over a model in fp32, AdamW: 12 bytes", "the weights stay in fp32: 16 bytes"),
              Row("HF's StackLLaMA blog: Adam for 7B in BF16, (2 + 8) * 7B = 70 GB",
                  "the gradients are missing"),
              Row("SGD with momentum, fp32: 16 bytes", "weight, gradient and one momentum: 12 bytes")),
        hints=("Count arrays, then the bytes of each.",),
        further="Which hold at the peak? (None: activations and temporaries come on top.)",
        source="PyTorch's torch/optim; Megatron-LM's dist_optimizer.md; hf.co/blog/stackllama",
        chapter="what_does_one_step_hold",
    ),
    Template(
        id="does-amp-save-states", topic="training", subject="States", difficulty="easy", kind="choice",
        title="Does mixed precision halve what weights and optimizer take?",
        draws={"billions": BILLIONS},
        question="A model of {billions} billion parameters is trained in fp32 with AdamW. You switch to "
        "mixed precision with BF16 weights and gradients, a master copy and moments in fp32. What happens to "
        "the sum of weights, gradients, master copy and moments?",
        options=(Option("It stays the same"),
                 Option("It falls to half", "weights and gradients do, but a master copy is added"),
                 Option("It falls to three quarters", "this forgets the master copy, 4 bytes a parameter"),
                 Option("It doubles",
                        "the 16-bit arrays are small; what they save pays for the master copy")),
        because="fp32: 4 + 4 + 4 + 4 = 16 bytes a parameter; mixed: 2 + 2 + 4 + 4 + 4 = 16.",
        hints=("Write both lists, with the bytes of each array.", "Mixed precision has one array more."),
        further="What does it save, then? (Activations, which become half as wide; and time.)",
        source="arXiv 1710.03740; arXiv 1910.02054", chapter="what_does_one_step_hold",
    ),
    Template(
        id="pure-bf16-states", topic="training", subject="States", difficulty="easy", by_hand=True,
        title="How much does AdamW keep if everything has 16 bits?",
        draws={"billions": BILLIONS},
        question="A model of {billions} billion parameters is loaded in BF16 and trained with PyTorch's "
        "AdamW, without a master copy. PyTorch makes the moments in the format of the parameter. How many GB "
        "do weights, gradients and moments take?",
        steps="states = (1 + 1 + 2) * 2 * billions * 10**9", unit="GB",
        ledger=lambda drawn: states(drawn.billions * 10**9, regime="pure-bf16").total_bytes,
        wrong=(Wrong("states = (2 + 2 + 8) * billions * 10**9",
                     "the moments have 16 bits, as the weights do"),
               Wrong("states = 16 * billions * 10**9", "16 is mixed precision, with a master copy in fp32")),
        hints=("Four arrays. How wide is each?",),
        further="What is the price? (Updates smaller than the spacing of BF16 numbers are lost.)",
        source="PyTorch's torch/optim/adamw.py; meta-pytorch/torchtune#389",
        chapter="what_does_one_step_hold",
    ),
    Template(
        id="why-step-needs-more", topic="training", subject="Moments", difficulty="medium",
        title="8 bytes a parameter are kept. How much does the step need?",
        draws={"model": DENSE, "context": (512, 1024)},
        question="{model}, {parameters} parameters, is trained in pure BF16: weights, gradients and AdamW's "
        "two moments have two bytes each. Sequences have {context} tokens. AdamW runs with foreach=True, "
        "which copies all parameters for a moment. How many GB do weights, gradients, moments and this copy "
        "take at the step?", steps="peak = (4 + 1) * 2 * parameters", unit="GB",
        ledger=lambda drawn: line(
            step(drawn.model, seq=drawn.context, regime="pure-bf16", optimizer_step="foreach"),
            "weights", "gradients", "adamw states", "foreach: a copy of all"),
        wrong=(Wrong("peak = 4 * 2 * parameters", "foreach updates all arrays at once, in a copy"),
               Wrong("peak = (4 + 2) * 2 * parameters", "one copy, not one for each moment")),
        hints=("What is kept is not what is needed at once.", "Ten bytes a parameter."),
        further="How does one avoid it? (fused=True: one kernel, and no copy.)",
        source="PyTorch's documentation of AdamW: foreach", chapter="what_does_one_step_hold",
    ),
    Template(
        id="why-foreach-has-a-price", topic="training", subject="Moments", difficulty="medium",
        kind="explain",
        title="What do foreach, fused and the plain loop of AdamW differ in?",
        question="PyTorch's AdamW can step in three ways: a loop over arrays, foreach, and fused. The "
        "results are the same up to rounding. How do they differ in memory? Explain in one line.",
        because="The loop makes temporaries of one array at a time, foreach of all arrays at once, about as "
        "much as all parameters, and fused updates everything in place.",
        points=("foreach adds about sizeof(parameters) at the step",
                "the loop adds two or so of the largest array", "fused adds nothing"),
        hints=("Which intermediate results exist at the same time?",),
        further="Does it always raise the peak? (No: only where the step is the fullest moment.)",
        source="PyTorch's documentation of AdamW: foreach, fused", chapter="the_five_levels",
    ),
    Template(
        id="moments-in-8-bits", topic="training", subject="Optimizers", difficulty="medium", by_hand=True,
        title="What do Adam's moments of a matrix take in 8 bits?",
        draws={"rows": SIDES, "columns": SIDES},
        question="bitsandbytes' 8-bit AdamW keeps each of the two moments in one byte a number, and for "
        "every block of 256 numbers a scale in fp32. How many MiB do both moments of a matrix of {rows} × "
        "{columns} take?",
        steps="each = 1 + 4 / 256; moments = 2 * rows * columns * each", unit="MiB",
        ledger=lambda drawn: sum(
            size for _, size in OPTIMIZERS["adamw-8bit"].states((drawn.rows, drawn.columns), 2)),
        wrong=(Wrong("moments = rows * columns * (1 + 4 / 256)", "Adam has two moments"),
               Wrong("moments = 2 * 4 * rows * columns", "that is what they take in fp32"),
               Wrong("moments = 2 * rows * columns", "the scales are missing: 1.6 %")),
        hints=("How many bytes is one number, its share of a scale included?", "1 + 4/256 bytes."),
        further="Which states stay in 32 bits? (Those of arrays below 4,096 numbers, such as norms.)",
        source="arXiv 2110.02861; bitsandbytes, optim/optimizer.py", chapter="what_does_one_step_hold",
    ),
    Template(
        id="factors-of-adafactor", topic="training", subject="Optimizers", difficulty="easy", by_hand=True,
        title="What does Adafactor keep for a matrix?",
        draws={"rows": SIDES, "columns": SIDES},
        question="Adafactor replaces the second moment of a matrix by a number for each row and a number for "
        "each column. It keeps no first moment here, and its numbers have 32 bits (transformers' Adafactor). "
        "How many KiB of state does a matrix of {rows} × {columns} have?",
        steps="state = 4 * (rows + columns)", unit="KiB",
        ledger=lambda drawn: sum(size for _, size in OPTIMIZERS["adafactor-transformers"].states(
            (drawn.rows, drawn.columns), 2)),
        wrong=(Wrong("state = 4 * rows * columns", "that is a whole second moment; Adafactor keeps factors"),
               Wrong("state = 2 * 4 * rows * columns", "that is AdamW")),
        hints=("Add, do not multiply.",),
        further="What does it not make smaller? (Gradients, and the temporaries of its step.)",
        source="arXiv 1804.04235; transformers' optimization.py", chapter="handbook_saved",
    ),
    Template(
        id="order-of-optimizers", topic="training", subject="Optimizers", difficulty="easy", kind="order",
        title="Which optimizer keeps most?",
        items=tuple({"billions": size, "optimizer": name, "moments": many, "bits": bits}
                    for size in (1, 3, 8, 14, 32) for name, many, bits in (
                        ("AdamW", 2, 32), ("AdamW", 2, 16), ("8-bit AdamW", 2, 8), ("Lion", 1, 32),
                        ("SGD with momentum", 1, 16))),
        question="Order these optimizers by the states that they keep, the smallest first. Scales and a "
        "master copy are not counted.",
        item="{optimizer}, {billions} billion parameters: {moments} × {bits} bits of state a parameter",
        steps="state = billions * 10**9 * moments * bits / 8", unit="GB",
        hints=("Parameters times states times bits, divided by eight.",),
        further="And SGD without momentum? (Nothing at all.)",
        source="arXiv 2302.06675; PyTorch's torch/optim", chapter="handbook_saved",
    ),
    Template(
        id="states-of-muon", topic="training", subject="Optimizers", difficulty="medium",
        title="How many GB of states does Muon keep?",
        draws={"model": DENSE, "bits": (32, 16)},
        facts={"matrices": lambda drawn: numbers(drawn.model, "matrix")},
        question="Muon keeps one momentum for each number in the layers' matrices; AdamW updates embedding, "
        "head, norms and biases. {model} has {parameters} parameters, {matrices} of them in the layers' "
        "matrices. How many GB are the states in {bits} bits?",
        steps="others = parameters - matrices; state = (matrices + 2 * others) * bits / 8", unit="GB",
        ledger=muon,
        wrong=(Wrong("state = 2 * parameters * bits / 8", "that is AdamW for everything"),
               Wrong("state = parameters * bits / 8", "the rest has AdamW's two moments")),
        hints=("Which optimizer updates the embedding?",),
        further="What else does its step need? (Copies of a matrix for the Newton-Schulz iteration.)",
        source="PyTorch's torch/optim/_muon.py", chapter="questions",
    ),
    Template(
        id="moments-of-galore", topic="training", subject="Optimizers", difficulty="hard",
        title="How much do moments and projections take with GaLore?",
        draws={"model": LLAMAS[:2], "rank": (*range(64, 513, 64), 640, 768, 896, 1024, 1280)},
        question="GaLore projects the gradient of an m × n matrix, m ≤ n, to rank × n numbers, of which "
        "AdamW keeps two moments, beside a projection of m × rank numbers, all in BF16. Each of {depth} "
        "layers of {model} has four matrices of {width} × {width} and three of {width} × {ffn_width}. How "
        "many GB are moments and projections of these with rank {rank}?",
        steps="square = 2 * rank * width + width * rank; wide = 2 * rank * ffn_width + width * rank\nkept = "
        "2 * depth * (4 * square + 3 * wide)", unit="GB", ledger=galore,
        wrong=(Wrong("kept = 2 * 2 * depth * (4 * width**2 + 3 * width * ffn_width)", "that is AdamW's"),
               Wrong("kept = 2 * depth * 2 * rank * (4 * width + 3 * ffn_width)",
                     "projections are kept, too")), hints=("One matrix: rank × (2n + m) numbers.",),
        further="And weights and gradients? (As before, 2 bytes a parameter each.)",
        source="arXiv 2403.03507, section 4 and table 1", chapter="questions",
    ),
    Template(
        id="gradients-that-stay", topic="training", subject="Moments", difficulty="medium",
        title="What does gradient accumulation cost?",
        draws={"model": DENSE, "micro_batches": (4, 8)},
        question="{model}, {parameters} parameters, trains in pure BF16. Gradients are freed after each "
        "step, and the loss is the fullest moment. Now gradients of {micro_batches} micro-batches are added "
        "up before a step, each micro-batch as large as before. By how many GB does the loss's moment grow?",
        steps="grown = 2 * parameters", unit="GB",
        ledger=lambda drawn: step(
            drawn.model, seq=512, regime="pure-bf16", accumulate=drawn.micro_batches).at("loss")["gradients"],
        wrong=(Wrong("grown = 2 * parameters * micro_batches", "they are added up in one array"),
               Wrong("grown = 0 * parameters", "gradients must now live through the next forward pass"),
               Wrong("grown = 4 * parameters", "PyTorch adds up in the parameter's format, 2 bytes")),
        hints=("What must be there while the second micro-batch runs?", "One gradient for each parameter."),
        further="Then what is it good for? (Many micro-batches keep the activations of one.)",
        source="PyTorch's autograd: .grad is added to, in the parameter's dtype", chapter="questions",
    ),
    Template(
        id="does-accumulation-save", topic="training", subject="Moments", difficulty="easy", kind="choice",
        title="Does gradient accumulation save memory?",
        draws={"sequences": (4, 8, 16, 32)},
        question="You want {sequences} sequences a step, and {sequences} at once do not fit. You run them "
        "one after another and add up their gradients. What does a card hold, compared with all at once?",
        options=(Option("Activations of one sequence instead of {sequences}; weights and states as before"),
                 Option("1/{sequences} of everything", "weights, gradients and states do not shrink"),
                 Option("Activations of {sequences} sequences, since all gradients are needed",
                        "activations go when a sequence has run backwards; only the summed gradient stays"),
                 Option("More: {sequences} copies of the gradients", "gradients are summed in place")),
        because="Activations live until their own backward pass; gradients are one array, which is added to.",
        hints=("How long do activations live?",),
        further="Is it as small as a single sequence a step? (No: gradients now stay during the forward "
        "pass.)",
        source="PyTorch's documentation of autograd", chapter="the_five_levels",
    ),
    Template(
        id="optimizer-in-a-checkpoint", topic="training", subject="Files", difficulty="easy", by_hand=True,
        title="How large is a checkpoint to resume from?", draws={"billions": BILLIONS},
        question="A run in mixed precision saves what it needs to resume: weights in BF16, the fp32 master "
        "copy, and AdamW's two moments in fp32. The model has {billions} billion parameters. How many GB are "
        "written?", steps="saved = (2 + 3 * 4) * billions * 10**9", unit="GB",
        ledger=lambda drawn: sum(
            size for part, size in states(drawn.billions * 10**9).components.items() if part != "gradients"),
        wrong=(Wrong("saved = 16 * billions * 10**9", "gradients are made anew, and not saved"),
               Wrong("saved = 2 * billions * 10**9",
                     "with the weights alone the optimizer starts from zero")),
        hints=("Which of the arrays does the next step make anew?", "Fourteen bytes a parameter."),
        further="Could the BF16 weights be left out? (Yes: they are the rounded master copy. Then it is 12.)",
        source="DeepSpeed's and Megatron-LM's checkpoints; PyTorch's Optimizer.state_dict",
        chapter="what_does_one_step_hold",
    ),
)  # fmt: skip
ACTIVATIONS = (
    Template(
        id="layer-of-gpt", topic="training", subject="Activations", difficulty="medium", by_hand=True,
        title="What does a GPT layer keep for the backward pass?",
        draws=GPT, where=is_gpt,
        question="In Korthikanti et al. (2022) a GPT layer with dropout, in 16 bits, keeps 34 bytes for "
        "each token and each number of its width, and 5 bytes for each pair of tokens and each head. The "
        "width is {width}, with {heads} heads. How many MiB does a layer keep of {context} tokens?",
        steps="linear = 34 * context * width; pairs = 5 * heads * context**2; layer = linear + pairs",
        unit="MiB",
        ledger=lambda drawn: gpt_layer(drawn.context, drawn.width, drawn.heads),
        wrong=(Wrong("layer = 34 * context * width", "the scores of all pairs are missing"),
               Wrong("layer = 34 * context * width + 5 * context**2", "every head has scores of its own")),
        hints=("Two terms: one grows with the tokens, the other with their square.",),
        further="And with flash attention? (The second term is gone; 34 bytes are left.)",
        source="arXiv 2205.05198, section 4", chapter="what_does_backward_need",
    ),
    Template(
        id="when-scores-take-over", topic="training", subject="Activations", difficulty="hard", by_hand=True,
        title="From how many tokens on do scores take more than all the rest?",
        draws={"width": (1024, 1536, 2048, 2560, 3072, 4096, 5120, 6144, 8192),
               "heads": (8, 16, 20, 24, 32, 40, 48, 64)},
        where=lambda drawn: drawn.width % drawn.heads == 0 and 64 <= drawn.width // drawn.heads <= 256,
        question="A GPT layer keeps 34 × tokens × width bytes, and 5 × heads × tokens^2 bytes for "
        "attention's scores (16 bits, dropout, no flash attention). The width is {width}, with {heads} "
        "heads. From how many tokens on do the scores take more than the rest?",
        steps="equal = 34 * width / (5 * heads); first = floor(equal) + 1", unit="tokens",
        ledger=lambda drawn: first_with_more_scores(drawn.width, drawn.heads),
        wrong=(Wrong("first = floor(34 * width / 5) + 1", "every head has scores of its own"),
               Wrong("first = floor(34 / 5 * heads) + 1", "width over heads, not heads")),
        hints=("Set both terms equal.", "Divide by the tokens once: 34 × width = 5 × heads × tokens."),
        further="What decides the answer? (The width of a head alone: 6.8 times that.)",
        source="arXiv 2205.05198, section 4", chapter="what_does_backward_need",
    ),
    Template(
        id="scores-of-eager", topic="training", subject="Activations", difficulty="easy",
        title="What do the attention scores of a layer take in eager mode?",
        draws={"model": LLAMAS, "context": LENGTHS[:4]},
        question="transformers runs {model} with eager attention in BF16. For the backward pass a layer "
        "keeps the softmax of the scores in fp32 and once more in BF16: a number for each pair of tokens in "
        "each of {heads} heads. How many GiB is that for one layer and a sequence of {context} tokens?",
        steps="scores = (4 + 2) * heads * context**2", unit="GiB",
        ledger=lambda drawn: sum(layer_kept(drawn.model, seq=drawn.context, attention="eager")[name]
                                 for name in ("softmax", "attention weights")),
        wrong=(Wrong("scores = 2 * heads * context**2", "the softmax is kept in fp32 as well"),
               Wrong("scores = 6 * heads * context**2 / 2", "masked pairs are stored, too")),
        hints=("How many pairs of tokens are there?", "Six bytes a pair and head."),
        further="What does flash attention keep instead? (4 bytes for each token and head.)",
        source="transformers 5.23, models/llama/modeling_llama.py: eager_attention_forward",
        chapter="what_does_backward_need",
    ),
    Template(
        id="why-flash-is-linear", topic="training", subject="Activations", difficulty="medium",
        kind="explain",
        title="Why does flash attention keep so little for the backward pass?",
        question="Attention's backward pass needs the softmax of all pairs of tokens. Flash attention never "
        "keeps it, yet its result is exact. What does it keep, and where does the softmax come from? One "
        "line.",
        because="It keeps q, k, v, the output and one number a row (the log of the sum of exponentials), and "
        "computes the scores again, block by block, in the backward pass.",
        points=("the log-sum-exp of each row, 4 bytes a token and head",
                "scores are computed again in blocks",
                "so memory is linear in the tokens; the result is not an approximation"),
        hints=("What has to be known of a row to make its softmax from its scores again?",),
        further="What does it cost? (One more product of q and k; the kernel is faster all the same.)",
        source="arXiv 2205.14135", chapter="what_does_backward_need",
    ),
    Template(
        id="layer-of-llama", topic="training", subject="Activations", difficulty="hard",
        title="What does a Llama layer keep?", draws={"model": LLAMAS, "context": LENGTHS[:4]},
        question="{model} (width {width}, {heads} query heads, {kv_heads} key/value heads of {head_dim}, "
        "feed-forward width {ffn_width}) trains in BF16 with flash attention. Each token keeps in a layer: "
        "of each of two norms its input in fp32, one number of 4 bytes, and its result before the scale; the "
        "input of q, k, v, and all three, q as wide as the model; attention's output and 4 bytes a query "
        "head; the input of gate and up; gate, its SiLU, up, their product. How many MiB for {context} "
        "tokens?",
        steps="norms = 2 * (6 * width + 4); attention = 6 * width + 4 * kv_heads * head_dim + 4 * heads; "
        "feed_forward = 2 * width + 8 * ffn_width; layer = context * (norms + attention + feed_forward)",
        unit="MiB", ledger=lambda drawn: sum(layer_kept(drawn.model, seq=drawn.context).values()) - 24,
        wrong=(Wrong("layer = 34 * context * width", "34 counts GPT, with fewer fp32 copies"),),
        hints=("Two bytes a number, but for norms.",),
        further="In Megatron? (Llama-3-8B: 34 bytes a number.)",
        source="transformers 5.23, modeling_llama.py", chapter="what_does_backward_need",
    ),
    Template(
        id="checkpoints-of-layers", topic="training", subject="Activations", difficulty="easy", by_hand=True,
        title="What do the layers keep with full checkpointing?",
        draws={"model": (*LLAMAS[:3], "Qwen/Qwen3-14B", "Qwen/Qwen3-32B"),
               "context": (1024, 1536, 2048, 3072, 4096, 8192)},
        question="{model} has {depth} layers of width {width} and trains in BF16. Every layer is "
        "checkpointed: only its input is kept, and it runs again in the backward pass. How many MiB do all "
        "layers keep of {context} tokens at the end of the forward pass?",
        steps="inputs = 2 * depth * context * width", unit="MiB",
        ledger=inputs_kept,
        wrong=(Wrong("inputs = 34 * depth * context * width", "that is a layer that keeps everything"),
               Wrong("inputs = 2 * context * width", "every layer's input is kept")),
        hints=("What is the shape of a layer's input?",),
        further="What comes on top in the backward pass? (All that one layer keeps, while it runs again.)",
        source="arXiv 1604.06174; arXiv 2205.05198", chapter="what_does_backward_need",
    ),
    Template(
        id="checkpointing-and-one-layer", topic="training", subject="Activations", difficulty="medium",
        title="How much do layers hold at most with checkpointing?",
        draws={"model": LLAMAS, "context": LENGTHS[:4]},
        facts={"one_layer": lambda drawn: sum(layer_kept(drawn.model, seq=drawn.context).values())},
        question="{model} ({depth} layers of width {width}) trains in BF16 on {context} tokens. A layer "
        "keeps {one_layer} bytes for the backward pass; checkpointed, its input alone, 2 bytes a number. How "
        "many GiB are held for the layers, inputs included, when the last one has just run again?",
        steps="inputs = 2 * depth * context * width; held = inputs + one_layer", unit="GiB",
        ledger=lambda drawn: inputs_kept(drawn) + sum(layer_kept(drawn.model, seq=drawn.context).values()),
        wrong=(Wrong("held = depth * one_layer", "that is without checkpointing"),
               Wrong("held = 2 * depth * context * width", "the layer that ran again keeps everything, too")),
        hints=("Two terms: what waits, and what is at work.",),
        further="Is this the peak of the step? (Often not: the loss, or the gradients at the end, may be "
        "higher.)",
        source="arXiv 2205.05198, section 5", chapter="what_does_backward_need",
    ),
    Template(
        id="price-of-checkpointing", topic="training", subject="Activations", difficulty="easy",
        kind="choice",
        title="What does full checkpointing cost?",
        question="All layers of a model are checkpointed: only their inputs are kept. By how much do the "
        "operations of a training step grow at most? (A backward pass takes twice as many as a forward "
        "pass.)",
        options=(Option("By a third: one more forward pass"),
                 Option("To double: everything runs twice", "the backward pass itself does not run twice"),
                 Option("By 2 to 3 %", "that is selective recomputation, of attention's scores alone"),
                 Option("Not at all: it trades memory against bandwidth", "the layers really run again")),
        because="Forward 1 and backward 2 make 3; one more forward pass makes 4: a third more.",
        hints=("Count a step in forward passes.", "Three before, four after."),
        further="And in time? (Published runs say 30 to 40 % for full, a few per cent for selective.)",
        source="arXiv 2205.05198, section 5 and table 4", chapter="what_does_backward_need",
    ),
    Template(
        id="selective-recomputation", topic="training", subject="Activations", difficulty="medium",
        by_hand=True, title="Which share does selective recomputation save?", draws=GPT, where=is_gpt,
        question="A GPT layer keeps 34 × tokens × width bytes and 5 × heads × tokens^2 bytes of scores (16 "
        "bits). Selective recomputation computes the scores again. The width is {width}, with {heads} heads, "
        "and sequences have {context} tokens. How many per cent of a layer's activations does it save?",
        steps="scores = 5 * heads * context / width; saved = 100 * scores / (34 + scores)", unit="%",
        ledger=lambda drawn: 100 * (1 - Fraction(
            gpt_layer(drawn.context, drawn.width, drawn.heads, selective=True),
            gpt_layer(drawn.context, drawn.width, drawn.heads))),
        wrong=(Wrong("saved = 100 * 34 / (34 + 5 * heads * context / width)", "that is what stays"),
               Wrong("saved = 100 * 5 * heads * context / (34 * width)", "of the whole, not of the rest")),
        hints=("Divide both terms by tokens × width.", "GPT-3 at 2,048 tokens: 80 against 34."),
        further="Why is it so cheap? (Two products of tokens^2, beside matrices of width^2.)",
        source="arXiv 2205.05198, section 5", chapter="what_does_backward_need",
    ),
    Template(
        id="loss-at-its-peak", topic="training", subject="Loss", difficulty="easy",
        title="How much does the cross entropy need at its peak?",
        draws={"model": VOCABULARIES, "context": LENGTHS},
        question="{model} has a vocabulary of {vocab} and trains on one sequence of {context} tokens. "
        "transformers makes the BF16 logits fp32 and calls PyTorch's cross entropy. In its backward pass "
        "three fp32 arrays exist at once: the log-probabilities, and two gradients. How many GiB is that?",
        steps="logits = context * vocab; peak = 3 * 4 * logits", unit="GiB",
        ledger=lambda drawn: step(
            drawn.model, seq=drawn.context, regime="pure-bf16", recompute="full").at("loss")["logits"],
        wrong=(Wrong("peak = 2 * context * vocab", "that is the logits alone, in BF16"),
               Wrong("peak = 4 * context * vocab", "that is what is kept until the loss's backward pass")),
        hints=("How many logits are there?", "Twelve bytes for each."),
        further="What makes it smaller? (A loss in chunks of tokens, or one fused with the head.)",
        source="arXiv 2411.09009; transformers 5.23, loss/loss_utils.py", chapter="what_does_backward_need",
    ),
    Template(
        id="smaller-loss", topic="training", subject="Loss", difficulty="easy", kind="choice",
        title="What makes the peak of the loss smaller?",
        draws={"context": LENGTHS},
        question="A model with a vocabulary of 128,256 trains on one sequence of {context} tokens and runs "
        "out of memory in the loss. Which of these makes the arrays of the loss itself smaller?",
        options=(Option("A linear layer fused with the cross entropy, as in Liger Kernel"),
                 Option("Checkpointing of all layers", "head and loss are outside of the layers"),
                 Option("LoRA with a frozen head", "logits and their gradients are as large as before"),
                 Option("ZeRO-3", "it shares what belongs to weights; logits belong to tokens")),
        because="Fused, the logits exist for a few tokens at a time; the others leave tokens × vocabulary.",
        hints=("Which of them changes tokens × vocabulary × bytes?",),
        further="Which ways of sharing divide logits? (Tensor parallelism, and context parallelism.)",
        source="arXiv 2410.10989; arXiv 2411.09009", chapter="the_five_levels",
    ),
    Template(
        id="logits-that-are-held", topic="training", subject="Loss", difficulty="medium",
        title="What does it cost to keep a model's outputs?",
        draws={"model": VOCABULARIES, "context": LENGTHS},
        question="A training loop says `outputs = model(**batch)` and keeps `outputs`, so that the BF16 "
        "logits live on until the next forward pass has ended. {model} has a vocabulary of {vocab}, a batch "
        "is one sequence of {context} tokens. How many MiB more are held at the optimizer's step?",
        steps="held = 2 * context * vocab", unit="MiB",
        ledger=lambda drawn: line(
            step(drawn.model, seq=drawn.context, regime="pure-bf16", hold_logits=True), "held by the caller"),
        wrong=(Wrong("held = 12 * context * vocab", "that is the loss's own peak, which is there anyway"),
               Wrong("held = 4 * context * vocab", "the model returns BF16; fp32 is the loss's copy")),
        hints=("What is the shape of the logits?",),
        further="How does one let them go? (loss = model(**batch).loss, and no other name for the outputs.)",
        source="foundation-model-stack/fms-fsdp#152", chapter="the_five_levels",
    ),
    Template(
        id="logits-of-evaluation", topic="training", subject="Loss", difficulty="medium",
        title="Why does evaluation run out of memory where training fits?",
        draws={"model": VOCABULARIES[:5], "context": (512, 1024, 2048), "samples": (50, 100, 200)},
        question="HF's Trainer evaluates {model} (vocabulary {vocab}) under autocast, so that logits come "
        "out in fp32. With compute_metrics, and eval_accumulation_steps left open, the logits of all "
        "{samples} samples of {context} tokens stay on the GPU. How many GiB is that?",
        steps="kept = 4 * samples * context * vocab", unit="GiB",
        ledger=lambda drawn: 4 * step(
            drawn.model, seq=drawn.context, micro_batch=drawn.samples).stage.tensors.logits,
        wrong=(Wrong("kept = 4 * context * vocab", "they are gathered over the whole evaluation set"),
               Wrong("kept = 2 * samples * context * vocab", "under autocast outputs are made fp32")),
        hints=("One sample first.", "Nothing is freed until the metrics are computed."),
        further="What helps? (preprocess_logits_for_metrics with an argmax, or eval_accumulation_steps.)",
        source="transformers' Trainer: evaluation_loop, eval_accumulation_steps", chapter="the_five_levels",
    ),
    Template(
        id="where-is-the-peak", topic="training", subject="Moments", difficulty="hard", kind="explain",
        title="You checkpoint all layers, and the peak does not fall. Why?",
        question="A model trains in pure BF16 with AdamW and foreach. Checkpointing takes most of the "
        "activations away, and max_memory_allocated stays the same. How can that be? Explain in one line.",
        because="The peak is the largest of several moments; if it was the optimizer's step, where no "
        "activations are left, fewer activations change nothing.",
        points=("a step has moments: loss, backward pass, end of the backward pass, step",
                "activations are gone at the optimizer's step, where foreach makes a copy of all parameters",
                "print the moments, and change the fullest"),
        hints=("Which arrays exist at which moment?", "What exists when the optimizer steps?"),
        further="What helps in this case? (fused=True: then the loss or the end of the backward pass is the "
        "peak.)",
        source="foundation-model-stack/fms-acceleration, benchmarks", chapter="the_five_levels",
    ),
)  # fmt: skip
ADAPTERS = (
    Template(
        id="lora-of-q-and-v", topic="training", subject="LoRA", difficulty="easy", by_hand=True,
        title="How many numbers does LoRA train?",
        draws={"model": LLAMAS, "rank": (8, 16, 32, 64)}, facts={"kv_width": kv_width},
        question="In each of {depth} layers of {model} q_proj has {width} inputs and {width} outputs, v_proj "
        "{width} inputs and {kv_width} outputs. Both get LoRA adapters of rank {rank}. How many million "
        "numbers are trained?",
        steps="layer = rank * (3 * width + kv_width); trained = depth * layer / 10**6",
        unit="million numbers",
        ledger=lambda drawn: Fraction(
            adapted(drawn, lora_targets=("q_proj", "v_proj")).trainable_parameters, 10**6),
        wrong=(Wrong("trained = depth * rank * 2 * width / 10**6", "rank × (inputs + outputs) for a matrix"),
               Wrong("trained = rank * (3 * width + kv_width) / 10**6", "that is one layer")),
        hints=("One matrix: rank × inputs, and outputs × rank.",),
        further="Does its memory depend on alpha? (No: alpha is a factor, not an array.)",
        source="arXiv 2106.09685", chapter="lora_and_qlora",
    ),
    Template(
        id="lora-of-all-linear", topic="training", subject="LoRA", difficulty="medium",
        title="How many numbers does LoRA train beside all linear layers?",
        draws={"model": LLAMAS, "rank": (8, 16, 32, 64)}, facts={"kv_width": kv_width},
        question="{model} has {depth} layers: q and o are {width} × {width}, k and v {width} × {kv_width}, "
        "gate, up and down {width} × {ffn_width}. All seven get LoRA adapters of rank {rank}; embedding and "
        "head do not. How many numbers are trained?",
        steps="attention = 2 * (width + width) + 2 * (width + kv_width); feed_forward = 3 * (width + "
        "ffn_width)\ntrained = depth * rank * (attention + feed_forward)", unit="numbers",
        ledger=lambda drawn: adapted(drawn).trainable_parameters,
        wrong=(Wrong("trained = depth * rank * 7 * 2 * width", "not all matrices are square"),
               Wrong("trained = depth * rank * (4 * (width + width) + 3 * (width + ffn_width))",
                     "k and v are narrower with grouped queries")),
        hints=("One matrix: rank × (inputs + outputs).", "Two, two, and three matrices."),
        further="And their states? (In fp32 16 bytes each: number, gradient, two moments.)",
        source="arXiv 2106.09685; PEFT's target_modules='all-linear'", chapter="lora_and_qlora",
    ),
    Template(
        id="states-with-lora", topic="training", subject="LoRA", difficulty="easy", by_hand=True,
        title="What do weights and states take with LoRA?",
        draws={"billions": (1, 3, 7, 8, 14, 32, 70), "millions": (10, 40, 80, 160, 320)},
        question="A model of {billions} billion parameters is frozen in BF16. Adapters of {millions} million "
        "numbers are trained with AdamW, all in fp32. How many GB do the model, the adapters, their "
        "gradients and their moments take?",
        steps="frozen = 2 * billions * 10**9; trained = 16 * millions * 10**6; held = frozen + trained",
        unit="GB",
        ledger=lambda drawn: states(drawn.billions * 10**9).components["weights"]
        + states(drawn.millions * 10**6, regime="fp32").total_bytes,
        wrong=(Wrong("held = 16 * billions * 10**9", "a frozen number has no gradient and no moments"),
               Wrong("held = 16 * millions * 10**6", "the frozen model is still there")),
        hints=("Two groups of numbers.", "Two bytes for frozen ones, sixteen for trained ones."),
        further="What is missing? (Activations, which LoRA does not make smaller, and the loss.)",
        source="PEFT: autocast_adapter_dtype keeps adapters in fp32", chapter="lora_and_qlora",
    ),
    Template(
        id="why-lora-runs-out", topic="training", subject="LoRA", difficulty="medium", kind="choice",
        title="LoRA trains half a per cent. What of the activations?",
        draws={"rank": (8, 16, 32, 64), "context": LENGTHS},
        question="Llama-3.1-8B in BF16 is fine-tuned on {context} tokens without checkpointing. You switch "
        "from all weights to adapters of rank {rank} beside every linear layer, in BF16 as well. What "
        "happens to the activations that are kept for the backward pass?",
        options=(Option("They stay nearly the same"),
                 Option("They shrink to half a per cent", "that is true of gradients and moments alone"),
                 Option("They go: frozen layers keep nothing",
                        "the gradient passes through all layers to the first"),
                 Option("They halve: frozen matrices keep no inputs", "lora_A needs the very same inputs")),
        because="The gradient still flows through every layer, and each adapter reads its matrix's input.",
        hints=("What does the gradient of lora_A need?", "The input of the matrix beside it."),
        further="And with adapters in fp32, PEFT's default? (More: each keeps a copy of its input.)",
        source="huggingface/peft issue 1514; arXiv 2106.09685", chapter="lora_and_qlora",
    ),
    Template(
        id="copies-for-adapters", topic="training", subject="LoRA", difficulty="hard",
        title="What do fp32 adapters keep beside a layer's own activations?",
        draws={"model": LLAMAS, "context": LENGTHS[:4]},
        question="PEFT keeps adapters in fp32, and without autocast each makes an fp32 copy of its input for "
        "the backward pass. In a layer of {model} q, k, v, o, gate and up read {width} numbers a token, down "
        "{ffn_width}. All seven have adapters. How many MiB of copies does a layer keep of {context} tokens?",
        steps="inputs = 6 * width + ffn_width; copies = 4 * context * inputs", unit="MiB",
        ledger=copies_for_adapters,
        wrong=(Wrong("copies = 4 * context * (3 * width + ffn_width)",
                     "q, k and v copy their input three times"),
               Wrong("copies = 2 * context * (6 * width + ffn_width)", "a copy has 4 bytes a number")),
        hints=("How many copies are there?", "Seven: six of the width, and one of the feed-forward width."),
        further="What avoids them? (Adapters in BF16: autocast_adapter_dtype=False; or checkpointing.)",
        source="PEFT's tuners/lora/layer.py", chapter="lora_and_qlora",
    ),
    Template(
        id="nf4-of-a-matrix", topic="training", subject="QLoRA", difficulty="easy", by_hand=True,
        title="How large is a matrix in NF4?",
        draws={"rows": SIDES, "columns": SIDES},
        question="QLoRA stores a frozen matrix of {rows} × {columns} in NF4: 4 bits a number, and a scale of "
        "32 bits for every 64 numbers (no double quantisation). How many MiB do codes and scales take?",
        steps="bits = 4 + 32 / 64; size = rows * columns * bits / 8", unit="MiB",
        ledger=lambda drawn: stored("nf4", drawn.rows, drawn.columns),
        wrong=(Wrong("size = rows * columns * 4 / 8", "the scales add half a bit"),
               Wrong("size = rows * columns * 2", "that is BF16")),
        hints=("How many bits is one number, with its share of a scale?", "4.5 bits."),
        further="And with double quantisation? (4 + 8/64 + 32/(64 × 256) = 4.127 bits.)",
        source="arXiv 2305.14314", chapter="lora_and_qlora",
    ),
    Template(
        id="weights-with-qlora", topic="training", subject="QLoRA", difficulty="medium",
        title="How large is a QLoRA model really?",
        draws={"model": DENSE, "rank": (16, 64)}, facts=MATRICES,
        question="{model} has {matrices} numbers in its layers' matrices, stored in NF4: 4 bits, and a scale "
        "of 32 bits for every 64 numbers. Its other {others} numbers, embedding and head above all, stay in "
        "BF16. Adapters of rank {rank} have {trained} numbers in fp32. How many GB are all these?",
        steps="frozen = matrices * (4 + 32 / 64) / 8 + 2 * others; size = frozen + 4 * trained", unit="GB",
        ledger=lambda drawn: line(adapted(drawn, quantize_base="nf4"), *QUANTISED) - tables(drawn),
        wrong=(Wrong("size = (matrices + others) / 2", "scales, 16-bit parts and adapters are missing"),
               Wrong("size = (matrices + others) * 4.5 / 8 + 4 * trained",
                     "embedding and head have 16 bits")),
        hints=("Three groups of numbers, each with its own width.",),
        further="Which models suffer most? (Small ones with large vocabularies: much of them is embedding.)",
        source="arXiv 2305.14314; bitsandbytes replaces linear layers alone", chapter="lora_and_qlora",
    ),
    Template(
        id="kbit-preparation", topic="training", subject="QLoRA", difficulty="medium",
        title="What does prepare_model_for_kbit_training cost?",
        draws={"model": DENSE, "rank": (16, 64)}, facts={"others": not_in_matrices},
        question="{model} is loaded in 4 bits for QLoRA of rank {rank}; {others} numbers are not quantised "
        "(embedding, head, norms) and lie in BF16. PEFT's prepare_model_for_kbit_training casts them to "
        "fp32. By how many MiB do the weights grow?",
        steps="grown = (4 - 2) * others", unit="MiB",
        ledger=lambda drawn: line(adapted(drawn, quantize_base="nf4", upcast=True), "weights")
        - line(adapted(drawn, quantize_base="nf4"), "weights"),
        wrong=(Wrong("grown = 4 * others", "two of the four bytes were there before"),),
        hints=("What was the width before, and what is it after?",),
        further="What else grows? (Activations: norms hand on fp32 numbers.)",
        source="PEFT's utils/other.py; huggingface/trl pull request 4335", chapter="lora_and_qlora",
    ),
    Template(
        id="magnitudes-of-dora", topic="training", subject="LoRA", difficulty="medium",
        title="How many numbers does DoRA add to LoRA?",
        draws={"model": LLAMAS, "rank": (8, 16, 32, 64)}, facts={"kv_width": kv_width},
        question="DoRA trains one magnitude for each output of an adapted matrix, beside LoRA's two. In each "
        "of {depth} layers of {model}, adapters of rank {rank} stand beside q and o ({width} outputs), k and "
        "v ({kv_width}), gate and up ({ffn_width}), down ({width}). How many magnitudes are there?",
        steps="layer = 3 * width + 2 * kv_width + 2 * ffn_width; added = depth * layer", unit="numbers",
        ledger=lambda drawn: (
            adapted(drawn, dora=True).trainable_parameters - adapted(drawn).trainable_parameters),
        wrong=(Wrong("added = rank * depth * (3 * width + 2 * kv_width + 2 * ffn_width)",
                     "the rank plays no part"),
               Wrong("added = depth * 7 * width", "outputs differ from matrix to matrix")),
        hints=("One number for each row of the weight.",),
        further="Where is DoRA's price, then? (Activations, and a product of full shape while a layer runs.)",
        source="arXiv 2402.09353", chapter="lora_and_qlora",
    ),
    Template(
        id="qlora-of-experts", topic="training", subject="QLoRA", difficulty="hard", kind="choice",
        title="Does a mixture of experts fit in 4 bits for QLoRA?",
        draws={"model": EXPERTS}, facts=EXPERT_SIZES,
        question="{model} has {parameters} parameters, {in_experts} of them in experts. You load it with "
        "load_in_4bit in transformers 5, where the experts of a layer are one array; bitsandbytes quantises "
        "linear layers. How large are the weights?",
        options=(Option("More than {wide:GB}"),
                 Option("About {narrow:GB}", "that is half a byte for all; experts are not quantised"),
                 Option("About {active:GB}", "active parameters set the arithmetic, not the memory")),
        because="An array of experts is no linear layer, so it stays in 16 bits: {wide:GB} for the experts "
        "alone.",
        hints=("Which modules does bitsandbytes replace?",),
        further="What helps? (axolotl's quantize_moe_experts, or a checkpoint that is quantised already.)",
        source="axolotl-ai-cloud/axolotl, quantize_moe_experts; transformers 5", chapter="lora_and_qlora",
    ),
)  # fmt: skip
SHARED = (
    Template(
        id="ddp-on-cards", topic="training", subject="Data parallelism", difficulty="easy", kind="choice",
        title="Does DDP make a model fit that does not fit on one card?",
        draws={"ranks": (2, 4, 8, 16), "billions": BILLIONS[12:]},
        question="Weights, gradients and optimizer states of {billions} billion parameters do not fit on one "
        "card. You train with PyTorch's DDP on {ranks} such cards. How much of them does each card hold?",
        options=(Option("All of it, and a second copy of the gradients in buckets"),
                 Option("1/{ranks} of them", "DDP shards nothing; that is ZeRO-3 or FSDP"),
                 Option("All weights, and 1/{ranks} of the states", "that is ZeRO-1"),
                 Option("Exactly as much as one card alone", "its buckets hold the gradients once more")),
        because="Every rank has the whole model and its optimizer; only the batch is divided.",
        hints=("What does a DDP rank send? Only gradients.",),
        further="How do the buckets go? (gradient_as_bucket_view=True: gradients lie in the buckets.)",
        source="PyTorch's documentation of DistributedDataParallel", chapter="how_many_devices_share_it",
    ),
    Template(
        id="zero-stage-1", topic="training", subject="ZeRO", difficulty="easy", by_hand=True,
        title="What does a rank hold with ZeRO-1?",
        draws={"billions": (4, 7, 8, 13, 14, 32, 70), "ranks": (4, 8, 16, 32, 64)},
        question="A model of {billions} billion parameters takes 16 bytes a parameter: 2 for the weight, 2 "
        "for the gradient, 12 for the master copy and AdamW's moments. {ranks} ranks train with ZeRO stage "
        "1. How many GB of these does each rank hold?",
        steps="each = 2 + 2 + 12 / ranks; held = each * billions * 10**9", unit="GB",
        ledger=lambda drawn: states(drawn.billions * 10**9, shard=1, world=drawn.ranks).total_bytes,
        wrong=(Wrong("held = 16 / ranks * billions * 10**9", "that is stage 3: everything divided"),
               Wrong("held = (2 + 14 / ranks) * billions * 10**9",
                     "that is stage 2: gradients divided, too")),
        hints=("Which of the 16 bytes does only the optimizer's step read?", "4 bytes whole, 12 divided."),
        further="What is the least, with ever more ranks? (4 bytes a parameter.)",
        source="arXiv 1910.02054, section 5", chapter="what_does_one_step_hold",
    ),
    Template(
        id="zero-stage-2", topic="training", subject="ZeRO", difficulty="easy", by_hand=True,
        title="What does a rank hold with ZeRO-2?",
        draws={"billions": (4, 7, 8, 13, 14, 32, 70), "ranks": (4, 8, 16, 32, 64)},
        question="A model of {billions} billion parameters takes 16 bytes a parameter: 2 for the weight, 2 "
        "for the gradient, 12 for the master copy and AdamW's moments. {ranks} ranks train with ZeRO stage "
        "2. How many GB of these does each rank hold?",
        steps="each = 2 + (2 + 12) / ranks; held = each * billions * 10**9", unit="GB",
        ledger=lambda drawn: states(drawn.billions * 10**9, shard=2, world=drawn.ranks).total_bytes,
        wrong=(Wrong("held = (4 + 12 / ranks) * billions * 10**9",
                     "that is stage 1: gradients are divided here"),
               Wrong("held = 16 / ranks * billions * 10**9", "that is stage 3: weights are whole here")),
        hints=("What is still whole?", "Two bytes whole, fourteen divided."),
        further="Does it lower the peak at the loss? (No: gradients do not exist yet, unless they "
        "accumulate.)",
        source="arXiv 1910.02054, section 5", chapter="what_does_one_step_hold",
    ),
    Template(
        id="zero-stage-3", topic="training", subject="ZeRO", difficulty="medium",
        title="What does a rank hold with ZeRO-3 when a layer runs?",
        draws={"model": LLAMAS, "ranks": (4, 8, 16, 64)}, facts={"layer_numbers": layer_numbers},
        question="{model} has {parameters} parameters, {layer_numbers} of them in each layer. {ranks} ranks "
        "share 16 bytes a parameter by ZeRO-3 (shares are rounded up). A layer that runs is gathered whole "
        "in BF16. How many GB do a rank's share of the states and one such layer take?",
        steps="part = ceil(parameters / ranks); held = 16 * part + 2 * layer_numbers", unit="GB",
        ledger=lambda drawn: states(model(drawn.model), shard=3, world=drawn.ranks).total_bytes
        + 2 * layer_numbers(drawn),
        wrong=(Wrong("held = 16 * ceil(parameters / ranks)", "a layer cannot run in pieces"),
               Wrong("held = 16 * ceil(parameters / ranks) + 2 * parameters", "one layer, not all")),
        hints=("What is kept, and what is there for a moment?",),
        further="Why is more gathered in practice? (The next layer is fetched ahead.)",
        source="arXiv 1910.02054; arXiv 2304.11277", chapter="how_many_devices_share_it",
    ),
    Template(
        id="zero-that-fits", topic="training", subject="ZeRO", difficulty="medium", kind="fits",
        title="Which ZeRO stage fits the states on this card?",
        draws={"device": ("rtx-4090", "l40s-ecc", "a100-80g"), "billions": (8, 13, 14)},
        items=tuple({"stage": stage, "ranks": ranks} for stage in (1, 2, 3) for ranks in (2, 4, 8, 16, 64)),
        question="A model of {billions} billion parameters takes 16 bytes a parameter in mixed precision. "
        "ZeRO divides 12 of them by the ranks in stage 1, 14 in stage 2, and all 16 in stage 3. A card has "
        "{capacity:GiB}. With which of these do the states take at most seven tenths of it?",
        item="stage {stage} on {ranks} cards", capacity="capacity * 0.7",
        steps="shared = 10 + 2 * stage; held = (16 - shared + shared / ranks) * billions * 10**9", unit="GiB",
        hints=("4 + 12/N, 2 + 14/N, 16/N bytes a parameter.",),
        further="What are the other three tenths for? (Activations, logits, gathered layers, the driver.)",
        source="arXiv 1910.02054, section 5", chapter="what_does_one_step_hold",
    ),
    Template(
        id="ranks-for-zero-1", topic="training", subject="ZeRO", difficulty="hard", by_hand=True,
        title="How many ranks does ZeRO-1 need?",
        draws={"billions": (4, 6, 7, 8, 9, 12, 13, 14, 17, 20),
               "room": (20, 24, 30, 36, 40, 44, 48, 60, 64, 72, 80, 96, 100, 120)}, where=needs_zero_1,
        question="A model of {billions} billion parameters takes 4 bytes a parameter for weight and "
        "gradient, and 12 for master copy and moments. ZeRO stage 1 divides the 12. Each card has {room} GB "
        "(10^9 bytes) free for all of these. How many cards are needed at least?",
        steps="left = room - 4 * billions; ranks = ceil(12 * billions / left)", unit="cards",
        ledger=fewest_ranks,
        wrong=(Wrong("ranks = ceil(16 * billions / room)",
                     "that divides weights and gradients as well: stage 3"),),
        hints=("What does no number of ranks make smaller?", "4P + 12P/N ≤ room. Solve for N."),
        further="When is no number enough? (Once 4 bytes a parameter do not fit.)",
        source="arXiv 1910.02054, section 5", chapter="what_does_one_step_hold",
    ),
    Template(
        id="distributed-optimizer", topic="training", subject="ZeRO", difficulty="medium", by_hand=True,
        title="What does Megatron's distributed optimizer leave on a rank?",
        draws={"billions": (4, 7, 8, 13, 14, 32, 70), "ranks": (4, 8, 16, 32, 64)},
        question="Megatron-LM trains in BF16: 2 bytes for the weight, 4 for the gradient, 4 for the master "
        "copy, 8 for AdamW's moments. Its distributed optimizer divides master copy and moments among "
        "data-parallel ranks. How many GB does each of {ranks} ranks hold of {billions} billion parameters?",
        steps="each = 6 + 12 / ranks; held = each * billions * 10**9", unit="GB",
        ledger=lambda drawn: states(
            drawn.billions * 10**9, gradients="fp32", shard=1, world=drawn.ranks).total_bytes,
        wrong=(Wrong("held = 18 / ranks * billions * 10**9", "weights and gradients are whole on every rank"),
               Wrong("held = (4 + 12 / ranks) * billions * 10**9", "the gradient has 4 bytes here")),
        hints=("Which arrays are divided?", "6 bytes whole, 12 divided."),
        further="Which stage of ZeRO is that? (Stage 1.)",
        source="Megatron-LM's dist_optimizer.md", chapter="what_does_one_step_hold",
    ),
    Template(
        id="two-layers-of-fsdp", topic="training", subject="FSDP", difficulty="medium",
        title="What does FSDP gather at once?", draws={"model": DENSE, "ranks": (8, 64)},
        facts={"layer_numbers": layer_numbers},
        question="{model} is trained with FSDP on {ranks} ranks, each layer a unit of its own with "
        "{layer_numbers} numbers. While one layer runs in BF16, the next is fetched already. How many MiB do "
        "these two gathered layers take on each rank?", steps="gathered = 2 * 2 * layer_numbers", unit="MiB",
        ledger=lambda drawn: line(step(
            drawn.model, seq=512, world=drawn.ranks, shard="fsdp", recompute="full"), "two layers, whole"),
        wrong=(Wrong("gathered = 2 * 2 * layer_numbers / ranks", "what is gathered is whole on every rank"),
               Wrong("gathered = 2 * layer_numbers", "the next layer is there, too")),
        hints=("Does it depend on the ranks?",),
        further="And if the model is not wrapped layer by layer? (Then the unit is the model: all is "
        "gathered.)", source="arXiv 2304.11277; PyTorch's documentation of fully_shard",
        chapter="how_many_devices_share_it",
    ),
    Template(
        id="fsdp-without-wrapping", topic="training", subject="FSDP", difficulty="medium", kind="choice",
        title="FSDP is on, and the peak is as high as the whole model. Why?",
        draws={"billions": (7, 8, 13, 14, 32), "ranks": (8, 16, 64)},
        question="A model of {billions} billion parameters is wrapped once, as a whole, in FSDP on {ranks} "
        "ranks: no policy wraps its layers. What is there on each rank while a forward pass runs?",
        options=(Option("All weights: the unit that is gathered is the whole model"),
                 Option("One layer and a share of the rest", "that takes a unit for each layer"),
                 Option("A share of the weights", "no matrix can be multiplied by its share alone"),
                 Option("Everything of a card alone, states too",
                        "between steps all is shared, and states always")),
        because="FSDP gathers a unit before it runs and frees it afterwards; here there is one unit.",
        hints=("What is a unit here?",),
        further="How is it mended? (auto_wrap_policy by the layer's class, or fully_shard on each layer.)",
        source="PyTorch's FSDP tutorial: auto_wrap_policy", chapter="how_many_devices_share_it",
    ),
    Template(
        id="optimizer-in-the-host", topic="training", subject="Offload", difficulty="medium",
        title="How much host memory does an offloaded optimizer take?",
        draws={"model": DENSE, "context": (2048, 4096)},
        question="{model}, {parameters} parameters, trains in mixed precision on sequences of {context} "
        "tokens. Its optimizer is offloaded: master copy and AdamW's two moments lie in host memory in fp32, "
        "and for the step an fp32 copy of the gradients is made there. How many GB of these does the host "
        "hold at the step (one rank, fused step)?",
        steps="host = (4 + 2 * 4 + 4) * parameters", unit="GB",
        ledger=lambda drawn: line(step(
            drawn.model, seq=drawn.context, recompute="full", offload=("optimizer",)), *IN_HOST),
        wrong=(Wrong("host = 12 * parameters", "the step needs the gradients in the host, too"),
               Wrong("host = 8 * parameters", "the master copy moves with the moments")),
        hints=("Four arrays of fp32.",),
        further="What stays on the card? (Weights and gradients in 16 bits: 4 bytes a parameter.)",
        source="arXiv 2101.06840", chapter="the_five_levels",
    ),
    Template(
        id="layer-with-tp", topic="training", subject="Tensor parallelism", difficulty="medium", by_hand=True,
        title="What does a GPT layer keep on a rank of tensor parallelism?",
        draws={"width": (4096, 5120, 6144, 8192, 9216), "context": (1024, 2048, 4096), "ranks": (2, 4, 8)},
        question="Without its scores, a GPT layer keeps 34 bytes for each token and each number of its "
        "width: 24 lie between matrices that tensor parallelism cuts, 10 outside of them. The width is "
        "{width}. How many MiB does each of {ranks} ranks keep of {context} tokens, without sequence "
        "parallelism?",
        steps="each = 10 + 24 / ranks; kept = context * width * each", unit="MiB",
        ledger=with_tp,
        wrong=(Wrong("kept = context * width * 34 / ranks",
                     "10 bytes are whole without sequence parallelism"),
               Wrong("kept = context * width * 34", "24 of the bytes are divided")),
        hints=("What lies outside of the matrices is on every rank.",),
        further="What divides the other 10? (Sequence parallelism, along the tokens.)",
        source="arXiv 2205.05198, section 4.2", chapter="how_many_devices_share_it",
    ),
    Template(
        id="layer-with-sp", topic="training", subject="Sequence parallelism", difficulty="medium",
        by_hand=True,
        title="What does sequence parallelism save on top of tensor parallelism?",
        draws={"width": (4096, 5120, 6144, 8192, 9216), "context": (1024, 2048, 4096), "ranks": (2, 4, 8)},
        question="A GPT layer without its scores keeps 34 bytes for each token and each number of its width, "
        "which is {width}. Of these, tensor parallelism divides 24; sequence parallelism divides the other "
        "10 as well. How many MiB does it save of a layer on each of {ranks} ranks, for {context} tokens?",
        steps="saved = context * width * (10 - 10 / ranks)", unit="MiB",
        ledger=lambda drawn: with_tp(drawn) - with_tp(drawn, hidden=drawn.ranks),
        wrong=(Wrong("saved = context * width * 10", "a rank still keeps its own part"),
               Wrong("saved = context * width * (34 - 34 / ranks)", "24 of the bytes were divided before")),
        hints=("10 + 24/t before, 34/t after.",),
        further="Does it send more? (As much: an all-reduce becomes a reduce-scatter and an all-gather.)",
        source="arXiv 2205.05198, section 4.2.2", chapter="how_many_devices_share_it",
    ),
    Template(
        id="states-with-tp", topic="training", subject="Tensor parallelism", difficulty="medium",
        title="Does tensor parallelism divide all weights?",
        draws={"model": (*LLAMAS[:2], *LLAMAS[3:7], "Qwen/Qwen3-32B", "Qwen/Qwen3-8B", "Qwen/Qwen2.5-72B"),
               "ranks": (2, 4, 8)}, facts={"norms": lambda drawn: numbers(drawn.model, "norm")},
        question="{model} has {parameters} parameters; {norms} of them are in norms, which every rank keeps "
        "whole. Megatron-LM cuts all other weights among {ranks} ranks of tensor parallelism, and holds 18 "
        "bytes a parameter for weights, gradients and AdamW. How many GB of these does a rank hold?",
        steps="cut = (parameters - norms) / ranks; held = 18 * (cut + norms)", unit="GB",
        ledger=megatron_states,
        wrong=(Wrong("held = 18 * parameters", "matrices, embedding and head are cut"),
               Wrong("held = 2 * ((parameters - norms) / ranks + norms)", "those are the weights alone")),
        hints=("Nearly everything is a matrix.",),
        further="And gradients? (A gradient has the shape of its weight: they are cut with it.)",
        source="arXiv 1909.08053", chapter="how_many_devices_share_it",
    ),
    Template(
        id="in-flight", topic="training", subject="Pipelines", difficulty="medium", by_hand=True,
        title="How many micro-batches does a pipeline stage keep at once?",
        draws={"stages": (4, 8, 16), "stage": (1, 2, 3, 4), "micro_batches": (2, 6, 32, 64)},
        question="A pipeline of {stages} stages runs {micro_batches} micro-batches by 1F1B, one forward and "
        "one backward pass in turn. Of how many micro-batches does stage {stage} (the first is 1) keep "
        "activations at most?",
        steps="ahead = stages - stage + 1; kept = min(micro_batches, ahead)", unit="micro-batches",
        ledger=lambda drawn: TrainingParallelism(world=drawn.stages, pp=drawn.stages).in_flight(
            drawn.stage - 1, drawn.micro_batches),
        wrong=(Wrong("kept = micro_batches", "that is GPipe: all forward passes first"),
               Wrong("kept = 1", "that is the last stage alone")),
        hints=("How many does a stage start before its first one comes back?",),
        further="Does it shrink with more stages? (The first stage: p micro-batches of L/p layers, always "
        "L.)",
        source="arXiv 2104.04473, section 2.2", chapter="how_many_devices_share_it",
    ),
    Template(
        id="first-stage", topic="training", subject="Pipelines", difficulty="medium", kind="choice",
        title="Why do the first stage's activations not shrink with more stages?",
        draws={"stages": (2, 4, 8, 16), "micro_batches": (32, 64, 128)},
        question="A model's layers are spread over {stages} pipeline stages, and {micro_batches} "
        "micro-batches run by 1F1B. Compared with one device that runs the whole model on one micro-batch: "
        "how many bytes of the layers' activations does the first stage hold?",
        options=(Option("As much"),
                 Option("1/{stages} of it", "it holds {stages} micro-batches of that part"),
                 Option("{stages} times as much", "each micro-batch has passed through its layers only"),
                 Option("{micro_batches} micro-batches of its layers", "that is GPipe, not 1F1B")),
        because="It keeps {stages} micro-batches of 1/{stages} of the layers.",
        hints=("How many micro-batches has it started before the first comes back?",),
        further="And the last stage? (One micro-batch: 1/{stages} of it.)",
        source="arXiv 2104.04473; arXiv 2205.05198", chapter="how_many_devices_share_it",
    ),
    Template(
        id="price-of-interleaving", topic="training", subject="Pipelines", difficulty="hard",
        title="How many more activations does interleaving keep?",
        draws={"stages": (4, 5, 6, 8, 10, 12, 16), "chunks": (2, 3, 4, 5)},
        question="A pipeline of {stages} stages is interleaved: each stage has {chunks} chunks of layers "
        "instead of one. Before its first backward pass the first stage runs 2 × (stages - 1) + (chunks - 1) "
        "× stages chunks forward, and then keeps one more. By which factor does it hold more activations "
        "than without interleaving, with many micro-batches?",
        steps="runs = 2 * (stages - 1) + (chunks - 1) * stages + 1; factor = runs / (chunks * stages)",
        unit="times",
        ledger=interleaved,
        wrong=(Wrong("factor = 1 / chunks", "chunks are smaller, but more are kept"),
               Wrong("factor = chunks", "the layers are the same")),
        hints=("Without interleaving it holds chunks × stages.", "1 + (p - 1)/(pv)."),
        further="What is it good for? (Stages wait less: the bubble is divided by the chunks.)",
        source="arXiv 2104.04473, section 2.2; arXiv 2205.05198", chapter="how_many_devices_share_it",
    ),
)  # fmt: skip
PLANS = (
    Template(
        id="weights-with-ep", topic="training", subject="Expert parallelism", difficulty="medium",
        title="What does expert parallelism divide?",
        draws={"model": (*EXPERTS, "Qwen/Qwen3-Coder-480B-A35B-Instruct", "deepseek-ai/DeepSeek-V2-Lite"),
               "ranks": (2, 4, 8, 16, 32, 64)}, where=has_experts_for, facts={"routed": routed},
        question="{model} has {parameters} parameters, {routed} of them in routed experts. {ranks} ranks of "
        "expert parallelism, without tensor parallelism, each hold whole experts. How many GB of BF16 "
        "weights does a rank hold?",
        steps="rest = parameters - routed; held = 2 * (routed / ranks + rest)", unit="GB",
        ledger=weights_with_ep,
        wrong=(Wrong("held = 2 * parameters / ranks", "attention, embedding and norms are on every rank"),
               Wrong("held = 2 * parameters", "the experts are divided")),
        hints=("Which weights belong to an expert?",),
        further="And activations? (Each rank keeps those of its own tokens and of those sent to its "
        "experts.)",
        source="arXiv 2006.16668", chapter="how_many_devices_share_it",
    ),
    Template(
        id="mistakes-in-sharing", topic="training", subject="Parallelism", difficulty="hard", kind="mistakes",
        title="Find the mistakes: what TP, PP and ZeRO divide", take=4,
        question="These lines are from a widely read derivation (zhihu 687226668), or corrected. t ranks "
        "share by TP. Which are wrong?",
        rows=(Row("A layer with TP alone keeps sbh(10 + 24/t + 5as/(ht))"),
              Row("With TP and SP: sbh(34 + 5as/h)/t"), Row("ZeRO-1 leaves weights and gradients whole"),
              Row("TP divides gradients as it divides weights"),
              Row("A layer with TP alone keeps sbh(10 + 24/t + 5as/h)",
                  "TP cuts the heads' scores: 5as/(ht)"),
              Row("PP divides gradients, TP does not", "a gradient has its weight's shape, which TP cuts"),
              Row("PP lowers activations as it lowers weights", "not on the first stage: p in flight")),
        hints=("What does a rank of TP hold of a weight, and of its gradient?",),
        further="What does context parallelism divide? (Tokens: all activations, no weights.)",
        source="zhihu 687226668; arXiv 2205.05198", chapter="how_many_devices_share_it",
    ),
    Template(
        id="what-cp-divides", topic="training", subject="Context parallelism", difficulty="easy",
        kind="choice",
        title="What does context parallelism divide?",
        draws={"ranks": (2, 4, 8), "context": (32768, 65536, 131072, 262144)},
        question="Sequences of {context} tokens train with context parallelism over {ranks} ranks, with "
        "nothing else shared. What does a rank hold?",
        options=(Option("Activations and logits of 1/{ranks} of the tokens; all weights and states"),
                 Option("1/{ranks} of the layers", "that is a pipeline"),
                 Option("1/{ranks} of everything", "weights do not depend on tokens"),
                 Option("1/{ranks} of each matrix, all tokens", "that is tensor parallelism")),
        because="Each rank has its own tokens of every sequence, and runs them through the whole model.",
        hints=("Which arrays have tokens as an axis?",),
        further="What divides the states then? (ZeRO over the same ranks: they hold the same weights.)",
        source="arXiv 2310.01889; arXiv 2309.14509", chapter="how_many_devices_share_it",
    ),
    Template(
        id="states-on-tp-and-pp", topic="training", subject="Planning", difficulty="easy", by_hand=True,
        title="How much do states take on each card with TP and PP?",
        draws={"billions": (64, 72, 100, 128, 175, 405, 530), "tp": (4, 8), "pp": (4, 8, 16)},
        question="A model of {billions} billion parameters trains in Megatron-LM, 18 bytes a parameter, with "
        "tensor parallelism over {tp} ranks and {pp} even pipeline stages (no distributed optimizer). About "
        "how many GB of states does each card hold, if everything is divided evenly?",
        steps="part = billions * 10**9 / (tp * pp); held = 18 * part", unit="GB",
        ledger=lambda drawn: states(
            drawn.billions * 10**9 // (drawn.tp * drawn.pp), gradients="fp32").total_bytes,
        wrong=(Wrong("held = 18 * billions * 10**9 / tp", "the stages divide layers as well"),
               Wrong("held = 2 * billions * 10**9 / (tp * pp)", "those are the weights alone")),
        hints=("How many cards share one copy of the model?",),
        further="What is not even? (Embedding and head: the first and the last stage hold more.)",
        source="arXiv 2104.04473; Megatron-LM's dist_optimizer.md", chapter="how_many_devices_for_100b",
    ),
    Template(
        id="cards-for-states", topic="training", subject="Planning", difficulty="medium", by_hand=True,
        title="How many cards do the states of a large model need at least?",
        draws={"billions": (70, 72, 100, 130, 175, 405, 530), "each": (16, 18), "room": (64, 80, 96, 141)},
        question="How much does it take to train a large model? {billions} billion parameters, {each} bytes "
        "each for weights, gradients and optimizer. A card has {room} GB (10^9 bytes). How many cards are "
        "needed at least, if these were shared to the last byte and nothing else took room?",
        steps="all_gb = billions * each; cards = ceil(all_gb / room)", unit="cards",
        ledger=fewest_cards,
        wrong=(Wrong("cards = ceil(billions * 2 / room)", "those are the weights alone"),
               Wrong("cards = ceil(billions * 8 / room)", "8 bytes are the two moments alone")),
        hints=("Bytes first.",),
        further="And in practice? (More: activations, logits, copies, and a layout that divides evenly.)",
        source="arXiv 1910.02054", chapter="how_many_devices_for_100b",
    ),
    Template(
        id="estimate-a-fine-tune", topic="training", subject="Planning", difficulty="hard", kind="estimate",
        title="Estimate: how much does a full fine-tune need on one card?", tolerance=0.3,
        draws={"model": LLAMAS, "context": LENGTHS[:4]},
        question="{model} ({parameters} parameters, {depth} layers of width {width}, a vocabulary of "
        "{vocab}) is fine-tuned in mixed precision, 16 bytes a parameter, on {context} tokens, with all "
        "layers checkpointed, and 12 bytes a logit in the loss. Estimate states, checkpoints and loss "
        "together, in GB.",
        steps="fixed = 16 * parameters; inputs = 2 * depth * context * width; loss = 12 * context * vocab; "
        "held = fixed + inputs + loss", unit="GB",
        ledger=fine_tune,
        wrong=(Wrong("held = 2 * parameters + 12 * context * vocab", "gradients and optimizer are missing"),),
        hints=("States, inputs of layers, loss: which is largest?",),
        further="Do all three exist at once? (Not quite: gradients come after the loss.)",
        source="arXiv 1910.02054; arXiv 2411.09009", chapter="how_many_devices_for_100b",
    ),
    Template(
        id="dpo-with-a-copy", topic="training", subject="DPO", difficulty="easy", by_hand=True,
        title="What does DPO's reference model add?",
        draws={"billions": BILLIONS},
        question="A policy of {billions} billion parameters trains with DPO in mixed precision, 16 bytes a "
        "parameter. The reference is a frozen copy in BF16 beside it. How many GB do policy and reference "
        "take together, without activations?",
        steps="held = (16 + 2) * billions * 10**9", unit="GB",
        ledger=lambda drawn: states(drawn.billions * 10**9).total_bytes + frozen(drawn),
        wrong=(Wrong("held = 16 * 2 * billions * 10**9",
                     "a frozen model has weights, no gradients, no moments"),
               Wrong("held = 16 * billions * 10**9", "the copy takes 2 bytes a parameter")),
        hints=("What does a frozen model need?",),
        further="And with LoRA? (Nothing: the base with its adapter switched off is the reference.)",
        source="arXiv 2305.18290; huggingface/trl, DPOTrainer", chapter="what_does_one_step_hold",
    ),
    Template(
        id="dpo-with-lora", topic="training", subject="DPO", difficulty="easy", kind="choice",
        title="Does DPO need a second model if the policy is a LoRA?",
        draws={"billions": (7, 8, 14, 32, 70), "rank": (8, 16, 32)},
        question="A policy of {billions} billion parameters is trained by DPO with a LoRA of rank {rank} "
        "(TRL, no ref_model). Where does the reference's answer come from?",
        options=(Option("From the same weights, with the adapter switched off"),
                 Option("From a frozen copy, 2 bytes a parameter more",
                        "that is full training; the base is unchanged here"),
                 Option("From a second adapter of the same rank",
                        "at the start an adapter adds nothing, so none is needed"),
                 Option("DPO needs no reference", "its loss compares with one; ORPO does without")),
        because="The base is frozen, so without its adapter it is the model from before training.",
        hints=("What is the base model at every step?",),
        further="What does DPO double all the same? (Sequences: a chosen and a rejected answer each.)",
        source="huggingface/trl, DPOTrainer", chapter="lora_and_qlora",
    ),
    Template(
        id="four-models-of-ppo", topic="training", subject="PPO", difficulty="medium", by_hand=True,
        title="What do PPO's four models take?",
        draws={"billions": BILLIONS},
        question="PPO trains a policy and a critic, each of {billions} billion parameters, with 16 bytes a "
        "parameter. A frozen reference and a frozen reward model of the same size lie in BF16 beside them. "
        "How many GB do the four take together, without activations and caches?",
        steps="each = 2 * 16 + 2 * 2; held = each * billions * 10**9", unit="GB",
        ledger=lambda drawn: 2 * (states(drawn.billions * 10**9).total_bytes + frozen(drawn)),
        wrong=(Wrong("held = 4 * 16 * billions * 10**9", "reference and reward model are not trained"),
               Wrong("held = (16 + 3 * 2) * billions * 10**9", "the critic is trained as the policy is")),
        hints=("Which of the four are trained?",),
        further="What does GRPO leave out? (The critic: 16 of these 36 bytes.)",
        source="arXiv 2203.02155; arXiv 2402.03300", chapter="what_does_one_step_hold",
    ),
    Template(
        id="cache-of-rollouts", topic="training", subject="GRPO", difficulty="medium",
        title="How large is the KV cache of a GRPO group?",
        draws={"model": LLAMAS, "answers": (8, 16), "context": (1024, 2048, 4096)},
        question="GRPO lets {model} write {answers} answers at once, each {context} tokens together with its "
        "prompt, and nothing is shared. It has {depth} layers and {kv_heads} key/value heads of {head_dim}; "
        "the cache is BF16. How many GiB is it when all are complete?",
        steps="token = 2 * depth * kv_heads * head_dim * 2; cache = answers * context * token", unit="GiB",
        ledger=rollouts,
        wrong=(Wrong("cache = 2 * depth * kv_heads * head_dim * 2 * context",
                     "each answer has a cache of its own"),
               Wrong("cache = answers * context * depth * kv_heads * head_dim * 2",
                     "keys and values are both kept")), hints=("One token first.",),
        further="Does it add to the peak of the update? (No, if the engine sleeps then; else its pool "
        "stays.)", source="arXiv 2402.03300; huggingface/trl, GRPOTrainer", chapter="handbook_kv_cache",
    ),
    Template(
        id="engine-on-the-same-card", topic="training", subject="GRPO", difficulty="medium", kind="explain",
        title="Why can a GRPO step run out of memory beside a colocated vLLM?",
        question="TRL's GRPO with vLLM in colocate mode: generating works, the first update runs out of "
        "memory. vLLM is idle at that time. Why, and what helps? One line.",
        because="vLLM keeps its share of the card, weights and cache pool, also while it is idle; let it "
        "sleep during updates, or give it a smaller share.",
        points=("vLLM takes a fixed share, gpu_memory_utilization, when it starts",
                "sleep level 1 moves its weights to the host and frees the cache; level 2 drops both",
                "the update's activations and states need that room"),
        hints=("What does an idle engine hold?",),
        further="What else helps? (Generating on other cards: vLLM in server mode.)",
        source="huggingface/trl, GRPOConfig: vllm_mode, vllm_enable_sleep_mode", chapter="handbook_engines",
    ),
    Template(
        id="free-in-pieces", topic="training", subject="Allocator", difficulty="medium", kind="explain",
        title="Out of memory, with 10 GB reserved but unallocated. How?",
        question="PyTorch fails to allocate 2 GiB, and says that 10 GB are reserved but unallocated. How can "
        "that be, and what does one try first? One line.",
        because="The free bytes lie in pieces inside of segments, none of which has 2 GiB in one place "
        "(fragmentation); expandable_segments:True lets segments grow instead.",
        points=("a block has to be contiguous within a segment",
                "sizes that change from step to step leave holes",
                "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, or sequences of one length"),
        hints=("Must the 2 GiB lie in one place?",),
        further="Does empty_cache() help? (Only segments that are wholly free go back to the driver.)",
        source="PyTorch's notes on CUDA: memory management", chapter="the_five_levels",
    ),
    Template(
        id="twice-the-tokens", topic="training", subject="Activations", difficulty="easy", kind="choice",
        title="What doubles with the length of the sequences?",
        draws={"context": (2048, 4096, 8192)},
        question="Sequences of {context} tokens become twice as long, with flash attention and one sequence "
        "a batch. What happens?",
        options=(Option("Activations and logits double; weights and states stay"),
                 Option("Everything doubles",
                        "weights, gradients and optimizer have no token in their shapes"),
                 Option("Activations become four times as large",
                        "that is the scores, which flash attention never keeps"),
                 Option("Only the logits double", "every array of a layer has a row for each token")),
        because="All that is kept for the backward pass is linear in the tokens, if no scores are kept.",
        hints=("Which shapes have tokens in them?",),
        further="And in eager mode? (The scores become four times as large.)",
        source="arXiv 2205.14135; arXiv 2205.05198", chapter="what_does_backward_need",
    ),
)  # fmt: skip
TEMPLATES = (*STATES, *ACTIVATIONS, *ADAPTERS, *SHARED, *PLANS)
