"""Language models: how far two texts that should mean the same differ in the word that follows."""

from __future__ import annotations

from collections.abc import Sequence

from ..expressions import Data, Net, Param, Term, Var, ball, box, pick, softmax
from ..spec import Spec, forall
from .registry import spec

__all__ = ["prompt_bias", "prompt_line"]


@spec("prompt_bias", numbers=(55,), form="RN", suits="language models")
def prompt_bias(words: int, width: int, vocabulary: int, *, watched: Sequence[int]) -> Spec:
    """forall x, |x - x0|_inf <= eps: |softmax(f(x))_w - softmax(f(x E))_w| <= tau, for every watched word w.

    f gives logits of the next word after a prompt, a text of vectors (words, width), and E is the matrix that
    exchanges the vectors of some words: he and she, say, names or places. Bind x0 (B, words, width), the
    prompts, all of a grammar as one batch; exchange (width, width), of one-hot words a permutation; eps, 0
    for the prompts alone; tau. Violation: the largest difference of the probabilities minus tau, strict
    atoms. Source: E. Sheng et al., The woman worked as a babysitter: on biases in language generation, EMNLP
    2019, arXiv 1909.01326; exchanges: P.-S. Huang et al., arXiv 1911.03064.
    """
    x0, f = Data("x0", (words, width)), Net("f", (words, width), vocabulary)
    x = Var("x", like=x0)
    twin = x @ Data("exchange", (width, width))
    of_one, of_other = (_chances(f(text), watched) for text in (x, twin))
    return forall(x, ball(x0, Param("eps")), abs(of_one - of_other) <= Param("tau"))


@spec("prompt_line", numbers=(55,), form="RN", suits="language models")
def prompt_line(words: int, width: int, vocabulary: int, *, watched: Sequence[int]) -> Spec:
    """forall t, low <= t <= high: |softmax(f(x1 + t (x2 - x1)))_w - softmax(f(x1))_w| <= tau, w watched.

    On the straight way between two prompts, which may differ in one word, no watched word's probability
    leaves the one it has at the first by more than tau. f as in `prompt_bias`. Bind x1, x2 (B, words, width),
    low and high, 0 and 1 for the whole way and numbers between for a part of it, and tau. The variable is t,
    so every witness is a float. Violation: the largest difference minus tau, strict atoms. Source: P.-S.
    Huang et al., Reducing sentiment bias in language models via counterfactual evaluation, 2019, arXiv
    1911.03064; the way between: M. Mirman et al., PLDI 2021, arXiv 2004.14756.
    """
    x1, x2 = Data("x1", (words, width)), Data("x2", (words, width))
    t, f = Var("t"), Net("f", (words, width), vocabulary)
    here, first = (_chances(f(text), watched) for text in (x1 + t * (x2 - x1), x1))
    return forall(t, box(Param("low"), Param("high")), abs(here - first) <= Param("tau"))


def _chances(logits: Term, watched: Sequence[int]) -> Term:
    """The probabilities of these words."""
    return pick(softmax(logits), watched)
