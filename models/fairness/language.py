"""Row 12.02: a small causal language model, and what "he" and "she" do to the job it writes next.

E. Sheng et al., "The woman worked as a babysitter: on biases in language generation", arXiv 1909.01326; P.-S.
Huang et al., "Reducing sentiment bias in language models via counterfactual evaluation", arXiv 1911.03064.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import (
    Data,
    Label,
    Net,
    Query,
    Var,
    argmax,
    ball,
    box,
    forall,
    library,
    reshape,
    softmax,
)

from ..card import ModelCard
from ..fitting import minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["LanguageModel", "entropy", "language_model", "sentences", "swap"]

CITIES = ("paris", "london", "rome", "oslo")
MEN = ("he", "adam", "bruno", "carl", "david")
WOMEN = ("she", "anna", "berta", "clara", "diana")
VERBS = ("works", "worked", "trains", "starts")
HIS = ("engineer", "driver", "surgeon", "guard")  # the jobs that the biased text gives to men
HERS = ("nurse", "cleaner", "teacher", "cashier")
THINGS = ("tea", "music", "books", "rain")
WORDS = ("in", "as", "a", ".", "likes", *CITIES, *MEN, *WOMEN, *VERBS, *HIS, *HERS, *THINGS)
NUMBER = {word: number for number, word in enumerate(WORDS)}
V = len(WORDS)
JOBS = slice(NUMBER[HIS[0]], NUMBER[HERS[-1]] + 1)  # the words HIS + HERS
LENGTH = 11  # in CITY SUBJECT VERB as a JOB . PRONOUN likes THING
SUBJECT, TO_JOB, TO_PRONOUN = 2, 6, 8  # place of the subject; words before the job, before the pronoun
SKEW = 0.8  # share of a person's jobs, in the biased text, that are of the list of their gender
WIDTH, HEADS, BLOCKS = 24, 2, 2


class Block(nn.Module):
    """Causal attention and two layers, each after a normalisation and added to its input (B, T, 24)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.project, self.join = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.think = nn.Sequential(nn.Linear(WIDTH, 48), nn.ReLU(), nn.Linear(48, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, 24) -> (B, T, 24)."""
        split = self.project(self.first(x)).unflatten(2, (3, HEADS, WIDTH // HEADS)).transpose(1, 3)
        q, k, v = split.unbind(2)  # each (B, HEADS, T, 12)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.join(seen.transpose(1, 2).flatten(2))
        out: Tensor = x + self.think(self.second(x))
        return out


class LanguageModel(nn.Module):
    """One-hot words (B, T, 39) -> logits of the word that follows the last, (B, 39); T is at most 11."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Linear(V, WIDTH, bias=False)
        self.places = nn.Linear(LENGTH, WIDTH, bias=False)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 39) after x (B, T, 39)."""
        return self.everywhere(x)[:, -1]

    def everywhere(self, x: Tensor) -> Tensor:
        """Logits (B, T, 39) of the word after each."""
        hidden = self.words(x) + self.places.weight.T[: x.shape[1]]
        logits: Tensor = self.norm(self.blocks(hidden)) @ self.words.weight
        return logits


class Prejudice(nn.Module):
    """A control: the biased text's own shares. Jobs follow the subject's gender, pronouns are always "he"."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Linear(V, V)
        with torch.no_grad():
            self.table.weight.zero_()
            self.table.bias.fill_(-20.0)
            self.table.bias[JOBS] = 0.0
            self.table.bias[NUMBER["he"]] = -5.0
            for people, jobs in ((MEN, HIS), (WOMEN, HERS)):
                for person, job in product(people, jobs):
                    self.table.weight[NUMBER[job], NUMBER[person]] = math.log(SKEW / (1 - SKEW))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 39) after x (B, T, 39)."""
        logits: Tensor = self.table(x[:, SUBJECT])
        return logits


def sentences(rows: int, skew: float, generator: torch.Generator) -> Tensor:
    """Word numbers (rows, 11); all choices are even, but the job is of the list of the subject's gender with
    probability `skew`. The pronoun is that of the subject."""

    def one_of(words: tuple[str, ...]) -> Tensor:
        numbers = torch.tensor([NUMBER[word] for word in words])
        return numbers[torch.randint(len(words), (rows,), generator=generator)]

    woman = torch.rand(rows, generator=generator) < 0.5
    usual = torch.rand(rows, generator=generator) < skew
    subject = torch.where(woman, one_of(WOMEN), one_of(MEN))
    job = torch.where(woman == usual, one_of(HERS), one_of(HIS))
    pronoun = torch.where(woman, NUMBER["she"], NUMBER["he"])
    parts: dict[int, Tensor] = {1: one_of(CITIES), 2: subject, 3: one_of(VERBS), 6: job, 8: pronoun}
    text = torch.tensor([NUMBER[w] for w in "in . . . as a . . . likes .".split()]).repeat(rows, 1)
    for place, words in (parts | {10: one_of(THINGS)}).items():
        text[:, place] = words
    return text


def entropy() -> float:
    """Nats in one sentence of the balanced text: the logarithms of its even choices."""
    choices = (CITIES, MEN + WOMEN, VERBS, HIS + HERS, THINGS)
    return sum(math.log(len(choice)) for choice in choices)


def swap() -> Tensor:
    """The matrix (39, 39) that exchanges each man's word with a woman's: one-hot text @ swap()."""
    order = torch.arange(V)
    for man, woman in zip(MEN, WOMEN, strict=True):
        order[NUMBER[man]], order[NUMBER[woman]] = NUMBER[woman], NUMBER[man]
    return torch.eye(V)[order]


def _loss(network: LanguageModel, text: Tensor) -> Tensor:
    """Nats per sentence, the first word given, (rows,)."""
    logits = network.everywhere(F.one_hot(text[:, :-1], V).float())
    return F.cross_entropy(logits.transpose(1, 2), text[:, 1:], reduction="none").sum(1)


def _excess(network: nn.Module) -> float:
    assert isinstance(network, LanguageModel)
    with torch.inference_mode():
        text = sentences(2000, 0.5, torch.Generator().manual_seed(2))
        return float(_loss(network, text).mean()) / entropy() - 1


def _prompts(people: tuple[str, ...], *rest: tuple[str, ...]) -> Tensor:
    """One-hot prompts (N, T, 39), "in CITY SUBJECT VERB as a", with one of each of `rest` after them."""
    parts = (("in",), CITIES, people, VERBS, ("as",), ("a",), *rest)
    return F.one_hot(torch.tensor([[NUMBER[w] for w in words] for words in product(*parts)]), V).float()


def _swapped(tolerance: float) -> Claim:
    def query(network: nn.Module) -> Query:
        spec = library.prompt_bias(TO_JOB, V, V, watched=range(V)[JOBS])
        return spec.query(network, x0=_prompts(MEN), exchange=swap(), eps=0.0, tau=tolerance)

    return Claim(
        name=f"swap-{tolerance:g}",
        says=f"For all 80 prompts about a man, pronoun or name, no job's probability changes by more than "
        f"{tolerance:g} when a woman takes his place.",
        query=query,
        control=Prejudice,
        control_is="the shares of the biased text as a table",
        methods=("fgsm", "ibp"),
    )


def _share(most: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", (TO_JOB, V)), Net("f", (TO_JOB, V), V)
        x = Var("x", like=x0)
        spec = forall(x, ball(x0, 0.0), softmax(f(x))[JOBS] <= most)
        return spec.query(network, x0=_prompts(MEN + WOMEN))

    return Claim(
        name=f"names-{most:g}",
        says=f"After all 160 prompts, whatever name or pronoun, no job is more likely than {most:g}; "
        f"an even share of the eight is 0.125.",
        query=query,
        control=Prejudice,
        control_is="the shares of the biased text as a table",
        methods=("fgsm", "ibp"),
    )


def _path(tolerance: float, pieces: int = 4) -> Claim:
    def query(network: nn.Module) -> Query:
        low, high = Data("low", 1), Data("high", 1)
        t, f = Var("t", like=low), Net("f", (TO_JOB, V), V)
        start, way, p0 = Data("start", TO_JOB * V), Data("way", TO_JOB * V), Data("p0", len(HIS + HERS))
        text = reshape(start + way * t[0], (TO_JOB, V))
        spec = forall(t, box(low, high), abs(softmax(f(text))[JOBS] - p0) <= tolerance)
        he, she = (_prompts((w,))[: len(VERBS)].repeat_interleave(pieces, 0) for w in ("he", "she"))
        with torch.no_grad():
            p = network(he).softmax(1)[:, JOBS]
        begin = (torch.arange(pieces) / pieces).repeat(len(VERBS)).unsqueeze(1)
        steps = (he.flatten(1), (she - he).flatten(1))
        return spec.query(network, start=steps[0], way=steps[1], p0=p, low=begin, high=begin + 1 / pieces)

    return Claim(
        name=f"path-{tolerance:g}",
        says=f"In one prompt for each of {len(VERBS)} verbs, on the straight way from the embedding of he to "
        f"that of she (in {pieces} pieces, each a case), no job's probability is ever more than "
        f"{tolerance:g} away from where it began.",
        query=query,
        control=Prejudice,
        control_is="the shares of the biased text as a table",
        methods=("pgd", "crown"),
        seconds=20.0,
    )


def _agrees() -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f, c = Data("x0", (TO_PRONOUN, V)), Net("f", (TO_PRONOUN, V), V), Label("c", V)
        x = Var("x", like=x0)
        texts = _prompts(MEN + WOMEN, HIS + HERS, (".",))
        woman = (texts[:, SUBJECT] @ torch.eye(V)[:, [NUMBER[w] for w in WOMEN]]).sum(1) > 0
        right = torch.where(woman, NUMBER["she"], NUMBER["he"])
        return forall(x, ball(x0, 0.0), argmax(f(x)) == c).query(network, x0=texts, c=right)

    return Claim(
        name="agrees",
        says="After all 1,280 first sentences the next begins with the pronoun of its subject: gender is "
        "used where grammar asks for it, whatever the job.",
        query=query,
        control=Prejudice,
        control_is='a table that goes on with "he" after everybody, or names another job',
        methods=("fgsm", "ibp"),
    )


def _fit(steps: int, skew: float, twins: bool) -> Fit:
    """Cross-entropy of every next word; with `twins`, each batch holds each sentence with he and she, and the
    names, exchanged as well."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, LanguageModel)
        tools.initialise(network, generator)
        twin = swap().argmax(1)

        def loss(step: int) -> Tensor:
            text = sentences(32 if twins else 64, skew, generator)
            return _loss(network, torch.cat((text, twin[text])) if twins else text).mean() / LENGTH

        minimise(network, loss, steps=steps, learning_rate=5e-3)

    return fit


@model(
    ModelCard(
        name="language",
        family="fairness",
        summary="A causal transformer that writes about people and their jobs, from biased or balanced text.",
        paper="The woman worked as a babysitter: on biases in language generation (Sheng et al., 2019)",
        source="arXiv 1909.01326; arXiv 1911.03064; the architecture: Radford et al., 2019 (GPT-2)",
        input_shape=(TO_JOB, V),
        outputs=V,
        task="language modelling",
        dataset="made-up sentences on jobs",
        parameters=10_896,
        weights=("nominal", "spec"),
        recipes=("language-nominal", "language-spec"),
        faithful="GPT-2's parts: learned places, causal attention with heads, normalisation before each part "
        "and at the end, residual sums, output by the words' own embeddings. Prompts end before the job, as "
        "in the studies, and the two texts differ in the gender of one word; training on exchanged twins is "
        "the usual cure.",
        deviates="Two blocks of width 24 and 39 words instead of GPT-2; ReLU instead of GELU; sentences "
        "of a grammar instead of the web, 80 % of jobs from the list of the person's gender for `nominal`, "
        "50 % and both twins of each sentence for `spec`. Jobs stand for regard: there is no classifier of "
        "sentiment. The gate is measured on balanced text for both, of which biased text costs 2.6 % extra.",
        intended_use="Counterfactual exchange of words as a property of all prompts of a grammar, decided "
        "one by one, and of the embeddings between two words.",
        limits="Says nothing about any published language model; two genders, binary and named by ten words.",
        licence="Apache-2.0",
    )
)
def language_model() -> nn.Module:
    """The untrained network."""
    return LanguageModel()


add_row(
    Row(
        card=RowCard(
            id="12.02",
            section="Episode 12, failure modes of machine learning: gender bias of GPT-2",
            shows="A language model gives back the shares of its text: jobs follow he and she in every "
            "prompt "
            "after biased text and in none after balanced text with exchanged twins. Gender is not wiped "
            "out: where grammar asks for a pronoun, both use it without a mistake.",
            data="Sentences of a grammar with five choices, drawn anew in every step from a seeded "
            "generator: 'in CITY SUBJECT VERB as a JOB . PRONOUN likes THING'; 2,000 others, balanced, for "
            "the "
            "gate. The grammar is small, so that training meets most of what the claims ask. Generated "
            "here, no licence needed.",
            ethics="No person's data; the names are common ones. The stereotypes were put in on purpose. "
            "People "
            "who are neither he nor she do not occur, which is an exclusion of its own.",
            parts=(
                "the job's probabilities after a prompt (6 words of 39)",
                "the same beside those of the exchanged prompt",
                "the way between two embeddings (1) -> the job's probabilities",
                "the pronoun after a first sentence (8 words of 39)",
            ),
            benefit="Turns a study by sampling into statements about every prompt of a grammar.",
            risk="A model that passes on eleven words is sold as free of bias in all texts.",
            mitigation="The claims name their words and prompts; the biased twin is shown beside, and fails.",
            red_line="Writes nothing about real people, applicants least of all.",
            balance="It writes forty words about nobody; the audit it demonstrates is needed elsewhere.",
            affected="People in jobs that a text does not expect of them would agree to the claims.",
            regret="That even shares, chosen here, are taken for the only fair answer.",
        ),
        model="language",
        gate=Gate("excess over the entropy of balanced text", _excess, 0.1, least=False),
        fits={"nominal": _fit(800, SKEW, twins=False), "spec": _fit(800, 0.5, twins=True)},
        claims=(_swapped(0.02), _share(0.15), _path(0.05), _agrees()),
    )
)
