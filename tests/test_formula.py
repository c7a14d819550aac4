"""Formulas: what tensors add up to in letters is what they add up to in numbers, and what textbooks print."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, strategies as st
from sympy import Rational, ceiling, floor

from memcalc.errors import BadInputError, ProofError
from memcalc.files.api import model as load_model
from memcalc.files.catalogue import catalogue, record
from memcalc.formula import Formula, derive, derive_bytes, formula, lift, prove, symbol, symbols, to_latex
from memcalc.ledger import parts
from memcalc.ledger.formats import (
    COMMON_FORMATS,
    FORMATS,
    Format,
    format_named,
    stored_bytes,
    uniform_rule,
    weight_only_rule,
)
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.parts import GQA, MLA, MLP, Embedding, Linear, MoE, Norm
from memcalc.ledger.tensor import ceil_div, count, least
from memcalc.ledger.vocabulary import WORDS, word
from memcalc.serving.parallelism import ServingParallelism
from memcalc.training.zero import states

L, h, a, k, d, f, V = symbols("depth width heads kv_heads head_dim ffn_width vocab")
B, T, P, A, w = symbols("batch context prompt answer window")
E, top, f_e, f_s = symbols("experts top_k expert_width shared_width")
r, r_q, d_n, d_r, d_v = symbols("kv_rank q_rank nope_dim rope_dim value_dim")
m, n = symbols("rows columns")
PARAMETERS, N, SHARE = symbols("parameters world share")

RULES = {name: weight_only_rule(form, FORMATS["bf16"]) for name, form in COMMON_FORMATS.items()}
COUNT = st.integers(1, 2**20)
COMMANDS = {r"\left", r"\right", r"\lceil", r"\rceil", r"\lfloor", r"\rfloor"}
COMMANDS |= {r"\frac", r"\min", r"\cdot", r"\quad", r"\Phi", r"\beta"}


def pytest_generate_tests(metafunc):
    """A model of each type, whose formulas are those of its others but for the numbers; all with --full."""
    if "model" in metafunc.fixturenames:
        of_types = {record(name).fields["model_type"]: name for name in catalogue()}
        full = metafunc.config.getoption("full")
        metafunc.parametrize("name", catalogue() if full else list(of_types.values()))


@pytest.fixture
def model(name):
    return load_model(name)


@pytest.fixture
def lifted(model):
    return lift(model)


def block(attention, feed_forward, norms=0):
    """One transformer block, `depth` times."""
    named = [("self_attn", attention), ("mlp", feed_forward)]
    return Layer((*named, *((f"norm{index}", Norm(h)) for index in range(norms))), times=L)


def formulas_of(lifted):
    """Every formula that a chapter shows of a model."""
    weights = list(lifted.model.weights())
    yield derive(weights)
    yield derive(weights, of=lambda tensor: tensor.active)
    yield derive(lifted.model.cache(B, T))
    yield from (derive_bytes(weights, rule) for rule in RULES.values())


def read_back(latex):
    """Evaluate LaTeX in which numbers stand for the letters."""
    text = latex.replace("{,}", "").replace(r"\cdot", "*").replace(r"\min", "min")
    text = text.replace(r"\left\lceil", "ceil(").replace(r"\right\rceil", ")")
    text = re.sub(r"\^\{(\d+)\}|\^(\d+)", r"**\1\2", text)
    before = ""
    while before != text:  # quotients in quotients; what cannot be read is no Python either
        before, text = text, re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"Fraction(\1, \2)", text)
    return eval(text, {"ceil": math.ceil, "Fraction": Fraction})


# A model becomes its own formula, and the numbers in it.


def test_the_formula_of_a_dense_model():
    expected = "L(2had + 2hkd + 3hf + 2h + 2d) + 2Vh + h"
    lifted = lift(load_model("Qwen/Qwen3-32B"))
    assert derive(lifted.model.weights()).latex == expected
    assert derive(lifted.model.cache(B, T)).latex == "2BTLkd"
    assert lifted.numbers == {
        "vocab": 151936,
        "width": 5120,
        "heads": 64,
        "kv_heads": 8,
        "head_dim": 128,
        "ffn_width": 25600,
        "depth": 64,
    }


def test_the_formula_of_a_mixture_of_experts_with_latent_attention():
    lifted = lift(load_model("deepseek-ai/DeepSeek-V3"))
    attention = "had_V + r_qa(d_N + d_R) + ra(d_N + d_V) + hr_q + h(r + d_R)"
    assert derive(lifted.model.weights()).latex == (
        f"L_D({attention} + 3hf + 2h + r_q + r) + "
        f"L_E(3Ehf_E + {attention.replace(' + hr_q', ' + Eh + hr_q')} + 3hf_S + 2h + r_q + r) + 2Vh + h"
    )
    assert derive(lifted.model.cache(B, T)).latex == "BT(L_D + L_E)(r + d_R)"


def test_a_lifted_model_counts_what_the_model_counts(model, lifted):
    numbers = {symbol(name): number for name, number in lifted.numbers.items()}
    assert lifted.model.parameters.subs(numbers) == model.parameters
    assert lifted.model.active_parameters.subs(numbers) == model.active_parameters
    weights = list(lifted.model.weights())
    assert derive(weights).value(**lifted.numbers) == model.parameters
    active = derive(weights, of=lambda tensor: tensor.active)
    assert active.value(**lifted.numbers) == model.active_parameters


@pytest.mark.parametrize(("batch", "context"), [(1, 1), (3, 5000), (64, 131072)])
def test_a_lifted_model_remembers_what_the_model_remembers(model, lifted, batch, context):
    cache = derive(lifted.model.cache(B, T))
    assert cache.value(batch=batch, context=context, **lifted.numbers) == count(model.cache(batch, context))


@pytest.mark.slow
@pytest.mark.parametrize("form", COMMON_FORMATS)
def test_a_lifted_model_is_stored_in_as_many_bytes(model, lifted, form):
    expected = stored_bytes(model.weights(), RULES[form])
    assert derive_bytes(lifted.model.weights(), RULES[form]).value(**lifted.numbers) == expected
    summed = stored_bytes(lifted.model.weights(), RULES[form])
    assert formula(summed).value(**lifted.numbers) == expected


@pytest.mark.slow
def test_what_a_formula_shows_with_numbers_in_it_is_its_value(lifted):
    numbers = dict(lifted.numbers, batch=7, context=12345)
    for one in formulas_of(lifted):
        letters, put_in, result = one.substituted(**numbers).latex.split(" = ")
        assert letters == one.latex
        assert read_back(put_in) == read_back(result) == one.value(**numbers)


def test_no_letter_runs_into_a_command(lifted):
    for one in formulas_of(lifted):
        assert set(re.findall(r"\\[A-Za-z]+", one.latex)) <= COMMANDS
    beta = symbol("bytes_per_element")
    assert to_latex(PARAMETERS * beta * n) == r"\beta n\Phi"
    assert to_latex(16 * PARAMETERS * SHARE) == r"16\Phi s"


def test_kinds_of_layers_have_words_of_their_own():
    """Gemma's and Mistral's kind: some layers with a window, as many without, with other widths."""
    layers = tuple(
        Layer((("self_attn", GQA(64, 4, 2, 16, window=window)), ("mlp", MLP(64, width))))
        for window, width in ((128, 256), (None, 256), (128, 256), (None, 256))
    )
    lifted = lift(Model("mixed", "mixed", layers))
    assert [layer.times.name for layer in lifted.model.layers] == ["window_depth", "attention_depth"]
    assert derive(lifted.model.cache(B, T)).latex == r"2BTL_Akd + 2BL_wkd\min(T, w)"
    cache = derive(lifted.model.cache(B, T))
    assert cache.value(batch=3, context=1000, **lifted.numbers) == 2 * 3 * 2 * 16 * 2 * (1000 + 128)


def test_depth_is_all_layers_or_none(model, lifted):
    """Its meaning is "layers of the model": what is left of several kinds of layers has a word of its own."""
    counts = [layer.times for layer in lifted.model.layers]
    assert lifted.numbers.get("depth", model.depth) == model.depth
    assert sum(lifted.numbers[count.name] for count in counts) == model.depth


def test_layers_that_no_part_sets_apart_are_the_others():
    """Jamba's kind: two parts, each shared with another kind of layer."""
    one, two = (GQA(64, 4, 2, 16, window=None), GQA(64, 4, 4, 16, window=None))
    dense, wide = MLP(64, 256), MLP(64, 512)
    pairs = ((one, dense), (one, wide), (two, dense), (one, dense))
    layers = tuple(Layer((("self_attn", attention), ("mlp", mlp))) for attention, mlp in pairs)
    lifted = lift(Model("mixed", "mixed", layers))
    assert [layer.times.name for layer in lifted.model.layers] == [
        "other_depth",
        "dense_depth",
        "attention_depth",
    ]


def test_a_second_number_of_the_same_name_gets_a_prime():
    layers = tuple(Layer((("mlp", MLP(64, width)),)) for width in (256, 256, 512))
    lifted = lift(Model("uneven", "uneven", layers))
    expected = {"width": 64, "ffn_width": 256, "dense_depth": 2, "ffn_width'": 512, "dense_depth'": 1}
    assert lifted.numbers == expected
    one = derive(lifted.model.weights())
    assert one.latex == "3L_Dhf + 3L_D'hf'"
    assert one.value(**lifted.numbers) == 3 * 64 * (2 * 256 + 512)
    assert one.legend()[1] == {
        "letter": "$L_D'$",
        "name": "dense_depth'",
        "meaning": word("dense_depth").meaning,
    }


def test_nothing_is_rounded_where_all_is_whole():
    """Of h(r + d_R) numbers at 16 bits SymPy only sees whole bytes once they are factored."""
    lifted = lift(load_model("deepseek-ai/DeepSeek-V3"))
    assert "ceil" not in derive_bytes(lifted.model.weights(), RULES["bf16"]).latex


def test_equally_many_layers_of_two_kinds_are_two_quantities():
    layers = (Layer((("mlp", MLP(64, 256)),)), Layer((("mlp", MLP(64, 512)),)))
    lifted = lift(Model("uneven", "uneven", layers))
    assert len({layer.times for layer in lifted.model.layers}) == 2


def test_flags_and_absent_quantities_stay_as_they_are():
    part = GQA(64, 4, 2, 16, qkv_bias=True)
    [layer] = lift(Model("one", "one", (Layer((("self_attn", part),)),))).model.layers
    [(_, lifted)] = layer.parts
    assert (lifted.qkv_bias, lifted.qk_norm, lifted.window) == (True, False, None)
    assert (lifted.width, lifted.kv_heads) == (h, k)


def test_buffers_are_no_parameters():
    """DeepSeek's router keeps 256 corrections a layer that no optimizer sees."""
    part = MoE(h, f_e, E, top, score_bias=True)
    assert derive(part.weights()).latex == "3Ehf_E + Eh"


# Every quantity is named once.


def test_every_quantity_is_a_word_of_the_vocabulary(lifted):
    classes = [getattr(parts, name) for name in dir(parts) if name != "Part"]
    quantities = {
        item.name for one in (*classes, Format) for item in fields(one) if item.type.startswith("int")
    } | {name for name, kind in ServingParallelism.__annotations__.items() if kind == "int"}
    assert len(quantities) > 20
    assert quantities <= set(WORDS)
    assert {one.counted for one in classes} <= set(WORDS)
    for one in formulas_of(lifted):
        # two kinds of attention in one model, as in Gemma 4: the second one's words have a prime
        assert {item.name.rstrip("'") for item in one.symbols} <= set(WORDS)


def test_two_quantities_never_share_a_letter():
    letters = [quantity.latex for quantity in WORDS.values()]
    assert len(letters) == len(set(letters))


def test_a_symbol_is_a_word():
    assert symbol("width") is symbol("width")
    assert symbol("width").is_positive
    assert symbol("width").is_integer
    with pytest.raises(LookupError, match="girth"):
        symbol("girth")
    with pytest.raises(LookupError, match="girth"):
        formula(sympy.Symbol("girth"))
    with pytest.raises(BadInputError, match="symbol"):
        formula(sympy.Symbol("width"))  # SymPy thinks that it is another one: it may be negative
    with pytest.raises(sympy.SympifyError):
        formula("width")  # text would be evaluated


def test_the_legend_is_in_the_order_of_the_formula():
    one = formula(2 * h * a * d)
    assert [row["letter"] for row in one.legend()] == ["$h$", "$a$", "$d$"]
    assert [row["name"] for row in one.legend()] == ["width", "heads", "head_dim"]
    assert [row["meaning"] for row in one.legend()] == [word(row["name"]).meaning for row in one.legend()]


# What textbooks print is proved.


@pytest.mark.parametrize(
    ("ffn_width", "gated"), [(4 * h, False), (Rational(8, 3) * h, True)], ids=["classic", "gated"]
)
def test_the_classic_block(ffn_width, gated):
    where = {"kv_heads": a, "head_dim": h / a, "ffn_width": ffn_width}
    bare = Model("", "", (block(GQA(h, a, k, d), MLP(h, f, gated=gated)),))
    assert prove(derive(bare.weights()), 12 * L * h**2, **where).latex.count("12Lh^2") == 1
    layers = (block(GQA(h, a, k, d), MLP(h, f, gated=gated), norms=2),)
    with_norms = Model("", "", layers, outside=(("norm", Norm(h)),))
    prove(derive(with_norms.weights()), 12 * L * h**2 + 2 * L * h + h, **where)


def test_a_proof_is_shown_as_an_equation():
    proof = prove(derive(GQA(h, a, k, d).weights()), 4 * h**2, kv_heads=a, head_dim=h / a)
    assert proof.latex == r"2had + 2hkd = 4h^2 \quad (k = a, d = \frac{h}{a})"
    assert proof._repr_latex_() == rf"$\displaystyle {proof.latex}$"


def test_what_is_not_equal_is_not_proved():
    with pytest.raises(ProofError, match=r"3hf is not 2hf: they differ by hf"):
        prove(derive(MLP(h, f).weights()), 2 * h * f)
    with pytest.raises(ProofError):  # equal at one point, not everywhere
        prove(h**2, 3 * h)
    with pytest.raises(ProofError):  # a rounding is no quotient
        prove(ceil_div(m, n) * n, m)


def test_the_substitutions_of_a_proof_happen_at_once_and_on_both_sides():
    prove(h * a, h * k, heads=k)
    prove(h * k, h * a, heads=k)
    with pytest.raises(ProofError, match="k is not h"):  # one after the other would make h of k
        prove(a, h, heads=k, kv_heads=h)
    with pytest.raises(LookupError, match="hands"):
        prove(h, h, hands=k)


def test_the_quoted_cache_formula():
    """4blh(s+n): MHA, heads as wide as the stream together, 16 bits."""
    model = Model("", "", (block(GQA(h, a, k, d), MLP(h, f)),))
    cache = 2 * derive(model.cache(B, T))
    where = {"kv_heads": a, "head_dim": h / a, "context": P + A}
    proof = prove(cache, 4 * B * L * h * (P + A), **where)
    assert " = 4BLh(P + A) " in proof.latex


@pytest.mark.parametrize(
    ("name", "ratio"),
    [
        ("Qwen/Qwen2.5-72B", "8.0"),
        ("Qwen/Qwen3-32B", "5.0"),
        ("Qwen/Qwen3-235B-A22B", "8.0"),
        ("deepseek-ai/DeepSeek-R1", "24.9"),
    ],
)
def test_how_far_the_quoted_cache_formula_is_off(name, ratio):
    model = load_model(name)
    lifted = lift(model)
    true = (2 * derive(lifted.model.cache(B, T))).value(batch=1, context=1, **lifted.numbers)
    assert f"{float(Fraction(4 * model.depth * lifted.numbers['width'], true)):.1f}" == ratio


def test_parts_are_what_textbooks_say():
    everything = {"batch": B, "context": T, "kept": lambda context, window: context}
    prove(derive(GQA(h, a, k, d).weights()), 2 * h * d * (a + k))
    prove(derive(GQA(h, a, k, d).cache(**everything)), 2 * B * T * k * d)
    mla = MLA(h, a, r, d_n, d_r, d_v, r_q)
    down, up = h * r_q + h * (r + d_r), r_q * a * (d_n + d_r) + r * a * (d_n + d_v)
    prove(derive(mla.weights()), down + up + a * d_v * h + r_q + r)
    prove(derive(mla.cache(**everything)), B * T * (r + d_r))
    without = MLA(h, a, r, d_n, d_r, d_v)
    prove(
        derive(without.weights()), h * a * (d_n + d_r) + h * (r + d_r) + r * a * (d_n + d_v) + a * d_v * h + r
    )
    moe = MoE(h, f_e, E, top, f_s)
    prove(derive(moe.weights()), h * (E + 3 * E * f_e + 3 * f_s))
    prove(derive(moe.weights(), of=lambda tensor: tensor.active), h * (E + 3 * top * f_e + 3 * f_s))
    assert derive(MoE(h, f_e, E, top).weights()).latex == "3Ehf_E + Eh"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("bf16", 2 * m * n),
        ("fp16", 2 * m * n),
        ("fp32", 4 * m * n),
        ("fp8-block128", m * n + 4 * ceiling(m / 128) * ceiling(n / 128)),
        (
            "gptq-int4-g128",
            ceiling(m * n / 2) + 2 * m * ceiling(n / 128) + ceiling(m * ceiling(n / 128) / 2) + 4 * n,
        ),
        ("int4-g32", ceiling(m * n / 2) + 2 * m * ceiling(n / 32)),
        ("mxfp4", ceiling(m * n / 2) + m * ceiling(n / 32)),
        ("nvfp4", ceiling(m * n / 2) + m * ceiling(n / 16) + 8),
        ("nvfp4a16", ceiling(m * n / 2) + m * ceiling(n / 16) + 4),
        ("fp8", m * n + 4),
        ("fp8-static", m * n + 8),
        ("fp8-channel", m * n + 2 * m),
        ("w8a8", m * n + 2 * m),
        ("int8", m * n + 4 * m),
        ("nf4", ceiling(m * n / 2) + 4 * ceiling(m * n / 64) + 64),
        ("fp4", ceiling(m * n / 2) + 4 * ceiling(m * n / 64) + 64),
        *(
            (name, ceiling(m * n / 2) + ceiling(m * n / 64) + 4 * ceiling(ceiling(m * n / 64) / 256) + 1088)
            for name in ("nf4-dq", "fp4-dq")
        ),
        ("awq-int4-g128", ceiling(m * n / 2) + 2 * m * ceiling(n / 128) + ceiling(m * ceiling(n / 128) / 2)),
        ("mlx-4bit-g64", ceiling(m * n / 2) + 4 * m * ceiling(n / 64)),
    ],
)
def test_the_bytes_of_a_matrix(form, expected):
    prove(format_named(form).bytes(rows=m, columns=n), expected)


def test_every_weight_format_has_its_formula():
    tested = test_the_bytes_of_a_matrix.pytestmark[0].args[1]
    assert {form for form, _ in tested} >= set(FORMATS)


def test_the_states_of_zero():
    """Rajbhandari et al. 2019, figure 1."""
    full = {gradients: states(PARAMETERS, gradients=gradients).total_bytes for gradients in (None, "bf16")}
    assert formula(full[None]).latex == formula(full["bf16"]).latex == r"16\Phi"
    prove(states(PARAMETERS, gradients="fp32").total_bytes, 18 * PARAMETERS)
    prove(states(PARAMETERS, gradients="bf16+fp32").total_bytes, 20 * PARAMETERS)
    share = PARAMETERS / N
    forms = (16 * PARAMETERS, 4 * PARAMETERS + 12 * share, 2 * PARAMETERS + 14 * share, 16 * share)
    for stage, (expected, printed) in enumerate(zip(forms, ("120.0", "31.4", "16.6", "1.9"), strict=True)):
        total = states(PARAMETERS, shard=stage, world=N).total_bytes
        prove(total, expected, parameters=N * SHARE)
        found = formula(total).value(parameters=7_500_000_000, world=64)
        assert f"{found / 10**9:.1f}" == printed
    assert to_latex(forms[1]) == r"4\Phi + \frac{12\Phi}{N}"
    with pytest.raises(ProofError):  # only where the ranks' shares are equal
        prove(states(PARAMETERS, shard=3, world=N).total_bytes, 16 * share)


# Values: exact, or refused.


@given(COUNT, COUNT, COUNT, COUNT, COUNT)
def test_symbols_say_what_numbers_say(rows, columns, pieces, tp, one):
    """SymPy splits, merges and moves what it rounds: the value stays."""
    given_numbers = {"rows": rows, "columns": columns, "heads": pieces, "tp": tp, "window": one}
    t = symbol("tp")

    def of(m, n, a, t, w):
        yield ceil_div(a, t) * n
        yield ceil_div(a + 3 * t, t)  # SymPy takes the 3 out
        yield ceil_div(2 * a + w, 4)
        yield ceil_div(m * ceil_div(n, 128), 8)
        yield ceil_div(a, t * w) + ceil_div(a * m, n * t)
        yield least(m, w) * n + least(m, n)
        yield ceil_div(least(m, n), t)
        yield m * n + 2 * (w + 1)
        yield from (form.bytes(m, n) for form in COMMON_FORMATS.values())

    for expression, expected in zip(of(m, n, a, t, w), of(rows, columns, pieces, tp, one), strict=True):
        found = formula(expression)
        mine = {item.name: given_numbers[item.name] for item in found.symbols}
        assert found.value(**mine) == expected
        assert found.value(**given_numbers) == expected


@given(COUNT, COUNT)
def test_a_quotient_is_exact_or_refused(number, world):
    one = formula(4 * PARAMETERS + 12 * PARAMETERS / N)
    if 12 * number % world:
        with pytest.raises(BadInputError, match="whole"):
            one.value(parameters=number, world=world)
    else:
        assert one.value(parameters=number, world=world) == 4 * number + 12 * number // world
    halves = formula(h * (r / 2 + r_q / 2))  # whole though neither half is
    assert halves.value(width=2 * number, kv_rank=1, q_rank=2) == 3 * number


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({"width": 64}, "ffn_width"),
        ({"width": 64, "ffn_width": 256, "girth": 3}, "girth"),
        ({"width": 64, "ffn_width": 256.0}, "ffn_width"),
        ({"width": 64, "ffn_width": 0}, "ffn_width"),
        ({"width": 64, "ffn_width": -256}, "ffn_width"),
        ({"width": 64, "ffn_width": True}, "ffn_width"),
        ({"width": 64, "ffn_width": "256"}, "ffn_width"),
        ({"width": 64, "ffn_width": None}, "ffn_width"),
    ],
)
def test_a_value_needs_a_whole_number_for_every_letter(numbers, complaint):
    one = derive(MLP(h, f).weights())
    for ask in (one.value, one.substituted):
        with pytest.raises(BadInputError, match=complaint):
            ask(**numbers)


def test_numbers_of_numpy_and_sympy_are_numbers():
    found = derive(MLP(h, f).weights()).value(width=np.int32(2**20), ffn_width=sympy.Integer(2**20))
    assert (found, type(found)) == (3 * 2**40, int)


@pytest.mark.parametrize(
    "strange",
    [
        sympy.Piecewise((h, h > 3), (a, True)),
        sympy.Max(h, a),
        sympy.sqrt(h),
        2**h,
        sympy.Mod(h, a),
        sympy.Float(2.5) * h,
        sympy.log(h),
    ],
)
def test_what_no_formula_of_memory_has_is_refused(strange):
    one = formula(strange)
    with pytest.raises(BadInputError, match="formula"):
        one.value(width=4, heads=2)
    with pytest.raises(BadInputError, match="formula"):
        one.sweep(width=np.array([4]), heads=np.array([2]))


def test_a_positive_symbol_loses_the_branch_of_zero():
    """The trap: SymPy drops Eq(x, 0) without a word, so what is absent is None and never a symbol of 0."""
    assert sympy.Eq(h, 0) == sympy.false
    assert sympy.Piecewise((1, sympy.Eq(h, 0)), (2, True)) == 2


def test_arithmetic_of_formulas():
    one = derive(MLP(h, f).weights())
    assert (2 * one).latex == (one * 2).latex == "6hf"
    assert (one + h).latex == (h + one).latex == "3hf + h"
    assert sum([one, one]).latex == "6hf"
    assert isinstance(sum([one, one]), Formula)
    assert (one.expression / 3).is_Mul


# LaTeX.


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (2 * a * d * h, "2had"),
        (3 * f * h, "3hf"),
        (12 * h**2 * L, "12Lh^2"),
        (2 * V * h, "2Vh"),
        (h**12, "h^{12}"),
        (4 * B * L * h * (P + A), "4BLh(P + A)"),
        (L * (2 * h + 3 * f * h) + h, "L(3hf + 2h) + h"),
        (least(T, w), r"\min(T, w)"),
        (B * least(T, w - 1), r"B\min(T, w - 1)"),
        (ceil_div(k, symbol("tp")) * d, r"d\left\lceil \frac{k}{t} \right\rceil"),
        (floor(T / symbol("block")), r"\left\lfloor \frac{T}{b} \right\rfloor"),
        (ceiling((r + d_r) / 128), r"\left\lceil \frac{r + d_R}{128} \right\rceil"),
        (Rational(8, 3) * h, r"\frac{8h}{3}"),
        (h - a, "h - a"),
        (-2 * h * a, "-2ha"),
        (-h * a, "-ha"),
        (h * (a - 1), "h(a - 1)"),
        (262144 * h, "262{,}144h"),
        (PARAMETERS * N, r"N\Phi"),
        (PARAMETERS * SHARE, r"\Phi s"),
    ],
)
def test_latex(expression, expected):
    assert to_latex(expression) == expected
    assert formula(expression)._repr_latex_() == rf"$\displaystyle {expected}$"


def test_numbers_put_in():
    shown = (2 * derive(lift(load_model("Qwen/Qwen3-32B")).model.cache(1, 1))).substituted(
        depth=64, kv_heads=8, head_dim=128
    )
    assert shown.latex == r"4Lkd = 4 \cdot 64 \cdot 8 \cdot 128 = 262{,}144"
    assert shown._repr_latex_() == rf"$\displaystyle {shown.latex}$"
    squared = formula(12 * L * h**2).substituted(depth=2, width=1000)
    assert squared.latex == r"12Lh^2 = 12 \cdot 2 \cdot 1{,}000^2 = 24{,}000{,}000"


# Sweeps: exact, or refused.


def test_a_sweep_is_the_value_at_every_point(lifted):
    batch, context = np.arange(1, 9), np.array([1, 128, 4096, 131072])
    cache = derive(lifted.model.cache(B, T))
    found = cache.sweep(**{**lifted.numbers, "batch": batch[:, None], "context": context[None, :]})
    assert found.dtype == np.int64
    assert found.tolist() == [
        [cache.value(**lifted.numbers, batch=int(x), context=int(y)) for y in context] for x in batch
    ]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_a_sweep_is_worked_out_in_64_bits(dtype):
    numbers = np.array([100, 127], dtype=dtype)
    found = formula(h * a * d * f).sweep(width=numbers, heads=numbers, head_dim=numbers, ffn_width=numbers)
    assert found.tolist() == [100**4, 127**4]


def test_a_sweep_beyond_64_bits_is_refused():
    largest = 2**31 - 1
    square = formula(h * a)
    assert square.sweep(width=np.array([largest]), heads=np.array([largest])).tolist() == [largest**2]
    assert square.sweep(width=np.array([2**32 - 1]), heads=np.array([2**31])) == [(2**32 - 1) * 2**31]
    for one, numbers in (
        (square, {"width": np.array([1, 2**32]), "heads": np.array([2**31])}),
        (formula(16 * h), {"width": np.array([2**60], dtype="uint64")}),
        (formula(h), {"width": np.array([2**63], dtype="uint64")}),
        (formula(ceiling(h * a / 2)), {"width": np.array([2**32]), "heads": np.array([2**31])}),
        # the largest value is not where every number is largest
        (formula(h * ceiling(a / f)), {"width": 2**40, "heads": 2**30, "ffn_width": np.array([1, 2**30])}),
        (formula(h * (2**30 - a)), {"width": 2**40, "heads": np.array([1, 2**30])}),
    ):
        with pytest.raises(BadInputError, match="2\\^63"):
            one.sweep(**numbers)


@pytest.mark.parametrize(
    "column", [[1.0, 2.0], [1, None], [True], [0, 1], [-1], [], ["1"], [2**64], np.array([], dtype="int64")]
)
def test_a_sweep_takes_whole_numbers_only(column):
    with pytest.raises(BadInputError, match="width"):
        formula(2 * h).sweep(width=np.array(column))


@given(st.lists(st.tuples(COUNT, COUNT, COUNT), min_size=1, max_size=20))
def test_sweeps_round_as_values_do(rows):
    one = formula(ceil_div(m * ceil_div(n, 128), 8) + least(m, w) * floor(m / n) + 4 * n)
    names = ("rows", "columns", "window")
    found = one.sweep(**dict(zip(names, np.array(rows).T, strict=True)))
    assert found.tolist() == [one.value(**dict(zip(names, row, strict=True))) for row in rows]


# The core counts without any of this.


@pytest.mark.parametrize(
    "modules", ["memcalc, memcalc.serving.estimate, memcalc.training.api, memcalc.files.sources"]
)
def test_counting_loads_neither_sympy_nor_numpy(modules):
    program = f"import sys, {modules}; memcalc.model('Qwen/Qwen3-32B').parameters; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"sympy", "numpy", "memcalc.formula.core"} & set(done.stdout.split())


def test_a_linear_layer_and_an_embedding_are_lifted_too():
    outside = (("embed", Embedding(100, 64)), ("project", Linear(64, 128)))
    lifted = lift(Model("", "", (), outside))
    assert lifted.numbers == {"vocab": 100, "width": 64, "rows": 64, "columns": 128}
    assert derive(lifted.model.weights()).latex == "Vh + mn"
    assert replace(lifted.model, name="same").parameters == lifted.model.parameters
    assert derive_bytes(lifted.model.weights(), uniform_rule(FORMATS["bf16"])).latex == "2Vh + 2mn"
