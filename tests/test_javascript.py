"""Python, NumPy and JavaScript say the same on generated sizes; what cannot be exact is refused."""

from __future__ import annotations

import json
import os
import random

import numpy as np
import pytest
import sympy

from memcalc.errors import BadInputError
from memcalc.formula import JAVASCRIPT, formula, symbol, symbols, to_javascript
from memcalc.formula.javascript import RESERVED
from memcalc.ledger.formats import COMMON_FORMATS, FORMATS, stored_bytes, tensor_bytes, weight_only_rule
from memcalc.ledger.model import Layer, Model
from memcalc.ledger.parts import GQA, MLA, MLP, Embedding, MoE, Norm
from memcalc.ledger.tensor import count, least
from memcalc.ledger.vocabulary import WORDS
from memcalc.serving.parallelism import ServingParallelism
from memcalc.training.zero import states
from tests.yardstick import at_most, milliseconds_of

SAFE = 2**53 - 1  # the largest whole number that JavaScript tells from its neighbours
PAIRS = 20  # of which one is the last that JavaScript can hold

GQA_WORDS = "width heads kv_heads head_dim"
MLA_WORDS = "width heads kv_rank nope_dim rope_dim value_dim q_rank"
MOE_WORDS = "width expert_width experts top_k shared_width"


def model(attention, feed_forward, depth, vocab, width):
    named = (("self_attn", attention), ("mlp", feed_forward), ("norm", Norm(width)))
    outside = (("embed", Embedding(vocab, width)), ("norm", Norm(width)))
    return Model("", "", (Layer(named, times=depth),), outside)


def dense(depth, vocab, *sizes):
    attention = GQA(*sizes[:4], qkv_bias=True, qk_norm=True)
    return model(attention, MLP(sizes[0], sizes[4]), depth, vocab, sizes[0])


def latent(depth, vocab, *sizes):
    return model(MLA(*sizes[:7]), MoE(sizes[0], *sizes[7:]), depth, vocab, sizes[0])


def in_window(context, window):
    """As transformers keeps it: a token less than the window."""
    return context if window is None else least(context, window - 1)


def on_rank(tensors, **split):
    ranks = ServingParallelism(**split)
    return sum(ranks.on_rank(tensor).count for tensor in tensors)


# Each is called with whole numbers and with symbols: it is the same code.
FAMILIES = {
    "dense_parameters": (
        "depth vocab width heads kv_heads head_dim ffn_width",
        lambda *sizes: dense(*sizes).parameters,
    ),
    "latent_parameters": (
        f"depth vocab {MLA_WORDS} expert_width experts top_k shared_width",
        lambda *sizes: latent(*sizes).parameters,
    ),
    "latent_active_parameters": (
        f"depth vocab {MLA_WORDS} expert_width experts top_k shared_width",
        lambda *sizes: latent(*sizes).active_parameters,
    ),
    "grouped_weights": (GQA_WORDS, lambda *sizes: count(GQA(*sizes).weights())),
    "latent_weights": (MLA_WORDS, lambda *sizes: count(MLA(*sizes).weights())),
    "expert_weights": (MOE_WORDS, lambda *sizes: count(MoE(*sizes).weights())),
    "grouped_cache": (
        f"batch context {GQA_WORDS}",
        lambda batch, context, *sizes: count(GQA(*sizes).cache(batch, context, in_window)),
    ),
    "window_cache": (
        f"batch context {GQA_WORDS} window",
        lambda batch, context, *sizes: 2 * count(GQA(*sizes).cache(batch, context, in_window)),
    ),
    "latent_cache": (
        f"batch context {MLA_WORDS}",
        lambda batch, context, *sizes: count(MLA(*sizes).cache(batch, context, in_window)),
    ),
    "slice_of_heads": (f"tp {GQA_WORDS}", lambda tp, *sizes: on_rank(GQA(*sizes).weights(), tp=tp)),
    "slice_of_cache": (
        f"tp batch context {GQA_WORDS} window",
        lambda tp, batch, context, *sizes: on_rank(GQA(*sizes).cache(batch, context, in_window), tp=tp),
    ),
    "slice_of_experts": (
        f"tp ep {MOE_WORDS}",
        lambda tp, ep, *sizes: sum(tensor.on_rank(tp=tp, ep=ep).count for tensor in MoE(*sizes).weights()),
    ),
    "sliced_bytes": (
        "tp depth vocab width heads kv_heads head_dim ffn_width",
        lambda tp, *sizes: sum(
            tensor_bytes(tensor.on_rank(tp=tp), FORMATS["gptq-int4-g128"])
            for tensor in dense(*sizes).weights()
        ),
    ),
}
for name, form in COMMON_FORMATS.items():
    word = name.replace("-", "_")
    rule = weight_only_rule(form, FORMATS["bf16"])
    FAMILIES[f"matrix_{word}"] = ("rows columns", form.bytes)
    FAMILIES[f"dense_{word}"] = (
        "depth vocab width heads kv_heads head_dim ffn_width",
        lambda *sizes, rule=rule: stored_bytes(dense(*sizes).weights(), rule),
    )
for stage in range(4):
    FAMILIES[f"zero_{stage}"] = (
        "parameters world",
        lambda parameters, world, stage=stage: states(parameters, shard=stage, world=world).total_bytes,
    )


def cases_of(name, count):
    """Sizes on a scale of doublings, and pairs of which one is the last that JavaScript can hold."""
    words, value = FAMILIES[name]
    draw = random.Random(name)
    length = len(words.split())
    for _ in range(count):
        top = draw.choice((2, 4, 8, 16, 30, 53))
        yield [max(1, min(SAFE, round(2 ** draw.uniform(0, top)))) for _ in range(length)]
    for _ in range(PAIRS):
        sizes = [draw.randint(1, 7) for _ in range(length)]
        grows = draw.randrange(length)

        def beyond(number, sizes=sizes, grows=grows):
            return value(*sizes[:grows], number, *sizes[grows + 1 :]) > SAFE

        low, high = 1, SAFE
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if beyond(middle) else (middle, high)
        for number in (low, high):
            yield [*sizes[:grows], number, *sizes[grows + 1 :]]


@pytest.fixture(scope="module")
def cases(request):
    """How many sizes each family is asked for beside the pairs."""
    return 300 if request.config.getoption("full") else 80


@pytest.fixture(scope="module")
def asked(cases):
    return {name: list(cases_of(name, cases)) for name in FAMILIES}


@pytest.fixture(scope="module")
def formulas():
    return {name: formula(value(*symbols(words))) for name, (words, value) in FAMILIES.items()}


ASK = """
const answers = {};
for (const [name, cases] of Object.entries(asked)) {
  answers[name] = cases.map((sizes) => {
    try { return functions[name](...sizes); } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return null;
    }
  });
}
console.log(JSON.stringify(answers));
"""


def program(functions, asked):
    """A script that prints what each function says to each of its cases, null where it throws RangeError."""
    listed = ",\n".join(f"{json.dumps(name)}: {text}" for name, text in functions.items())
    given = f"const functions = {{{listed}}};\nconst asked = {json.dumps(asked)};"
    return f'"use strict";\n{JAVASCRIPT}\n{given}\n{ASK}'


@pytest.fixture(scope="module")
def answers(node, asked, formulas):
    functions = {
        name: to_javascript("", formulas[name], arguments=words.split())
        for name, (words, _) in FAMILIES.items()
    }
    return node(program(functions, asked))


def may_be_refused(expected, sizes, limit):
    """A step may be larger than what comes out, but not by much; only nothing at all undoes any step."""
    return max(expected, *sizes) > limit // 1000 or expected == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_javascript_is_exact_or_throws(name, cases, asked, answers):
    value = FAMILIES[name][1]
    exact = 0
    for sizes, answer in zip(asked[name], answers[name], strict=True):
        expected = value(*sizes)
        if answer is None:
            assert may_be_refused(expected, sizes, SAFE), sizes
            continue
        assert answer == expected, sizes
        assert expected <= SAFE, sizes
        exact += 1
    assert len(asked[name]) == cases + 2 * PAIRS
    assert cases // 4 <= exact < len(asked[name])  # both kinds were asked


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_formula_and_a_sweep_say_what_the_numbers_say(name, cases, asked, formulas):
    words, value = FAMILIES[name]
    columns = words.split()
    small = []
    for sizes in asked[name]:
        expected = value(*sizes)
        numbers = dict(zip(columns, sizes, strict=True))
        assert formulas[name].value(**numbers) == expected, sizes
        try:
            [found] = formulas[name].sweep(**{word: np.array([size]) for word, size in numbers.items()})
        except BadInputError:
            assert may_be_refused(expected, sizes, 2**63), sizes
            continue
        assert found == expected, sizes
        if max(sizes) <= 16:
            small.append((sizes, expected))
    assert len(small) > cases // 8
    together = np.array([sizes for sizes, _ in small], dtype="int32").T
    found = formulas[name].sweep(**dict(zip(columns, together, strict=True)))
    assert found.tolist() == [expected for _, expected in small]


def test_the_last_number_that_is_exact(node):
    """2^53 - 1 is answered; 2^53 is not, nor what JavaScript rounds to it, nor what is no count."""
    one = to_javascript("", symbol("width"))
    double = to_javascript("", 2 * symbol("width"))
    wrong = [2**53, 2**53 + 1, 2**60, 0, -1, 0.5, 1.5, "7", None, True, [3]]
    asked = {"one": [[1], [SAFE], *([number] for number in wrong), []], "double": [[2**52 - 1], [2**52]]}
    found = node(program({"one": one, "double": double}, asked))
    assert found["one"] == [1, SAFE, *[None] * len(wrong), None]
    assert found["double"] == [2**53 - 2, None]


def test_rounding_is_exact_up_to_the_last_number(node):
    """Of sums that are rounded up by (m + n - 1) / n, some are beyond 2^53; these are not."""
    m, n = symbols("rows columns")
    functions = {
        "up": to_javascript("", sympy.ceiling(m / n)),
        "down": to_javascript("", sympy.floor(m / n)),
        "naive": "(m, n) => Math.floor((m + n - 1) / n)",
    }
    draw = random.Random(53)
    cases = [
        [SAFE - draw.randrange(1000), draw.choice((1, 2, 3, 7, 128, SAFE, SAFE - 1))] for _ in range(2000)
    ]
    cases += [[draw.randrange(1, SAFE), draw.randrange(1, 2 ** draw.randrange(1, 54))] for _ in range(2000)]
    found = node(program(functions, dict.fromkeys(functions, cases)))
    assert found["up"] == [-(-m // n) for m, n in cases]
    assert found["down"] == [m // n for m, n in cases]
    assert found["naive"] != found["up"]


def test_a_ratio_inside_a_rounding_is_a_quotient_of_whole_numbers(node):
    """The trap: floor(7/10*n) printed as floor(0.7 * n) is off by one for 10, 20, 30, ..."""
    n = symbol("columns")
    functions = {
        "down": to_javascript("", sympy.floor(sympy.Rational(7, 10) * n)),
        "up": to_javascript("", sympy.ceiling(sympy.Rational(7, 10) * n + sympy.Rational(1, 5))),
        "naive": "(n) => Math.floor((7 / 10) * n)",
    }
    cases = [[number] for number in range(1, 5001)]
    found = node(program(functions, dict.fromkeys(functions, cases)))
    assert found["down"] == [7 * number // 10 for number in range(1, 5001)]
    assert found["up"] == [-(-(7 * number + 2) // 10) for number in range(1, 5001)]
    assert found["naive"] != found["down"]


def test_a_quotient_that_is_not_whole_is_refused(node):
    share = to_javascript("", 4 * symbol("parameters") + 12 * symbol("parameters") / symbol("world"))
    asked = {"share": [[64, 64], [5, 64]]}
    arguments = share[share.index("(") : share.index(")") + 1]
    assert arguments == "(world, parameters)"
    assert node(program({"share": share}, asked)) == {"share": [268, None]}


def test_the_text_of_a_function():
    h, a, d = symbols("width heads head_dim")
    said = to_javascript("matrix", 2 * d * a * h + least(h, a - 1) * h**2)
    assert said == (
        "function matrix(width, heads, head_dim) { counts(width, heads, head_dim); return "
        "plus(times(2, width, heads, head_dim), times(times(width, width), least(width, plus(-1, heads)))); }"
    )


def test_names_that_javascript_takes_for_something_else_are_refused():
    one = 2 * symbol("width")
    for name in ("times", "class", "width", "exact", "arguments"):
        with pytest.raises(BadInputError, match="name"):
            to_javascript(name, one)
    with pytest.raises(BadInputError, match="arguments"):
        to_javascript("f", one, arguments=("width", "var"))
    with pytest.raises(BadInputError, match="width"):
        to_javascript("f", one, arguments=("heads",))


def test_no_word_is_reserved():
    assert not set(WORDS) & set(RESERVED.split())
    assert all(word.isidentifier() and word.isascii() for word in WORDS)


def test_every_helper_is_reserved():
    helpers = [
        line.split()[1].partition("(")[0] for line in JAVASCRIPT.splitlines() if line.startswith("func")
    ]
    assert len(helpers) == 8
    assert set(helpers) <= set(RESERVED.split())


def test_a_second_quantity_of_the_same_name_has_a_name_in_javascript(node):
    text = to_javascript("", symbol("width'") * symbol("width"))
    assert node(program({"area": text}, {"area": [[3, 5]]})) == {"area": [15]}


@pytest.mark.parametrize(
    "strange",
    [
        sympy.Piecewise((1, symbol("width") > 3), (2, True)),
        sympy.Max(symbol("width"), symbol("heads")),
        sympy.sqrt(symbol("width")),
        2 ** symbol("width"),
        sympy.Float(0.5) * symbol("width"),
        sympy.Integer(2) ** 53 * symbol("width"),
    ],
)
def test_what_javascript_would_get_wrong_is_refused(strange):
    with pytest.raises(BadInputError, match="formula"):
        to_javascript("f", strange)


def test_thousands_of_answers_take_less_than_a_second(node):
    words, value = FAMILIES["sliced_bytes"]
    text = to_javascript("", value(*symbols(words)), arguments=words.split())
    cases = [[2, 64, 151936, 5120, 64, 8, 128, 25600 + number] for number in range(5000)]
    source = program({"bytes": text}, {"bytes": cases})
    assert node(source)["bytes"][0] == value(*cases[0])
    at_most(1000, lambda: milliseconds_of(lambda: node(source), clock=of_children), rounds=(3, 6, 12))


def of_children():
    """CPU time of the programs that this one has run."""
    used = os.times()
    return used.children_user + used.children_system
