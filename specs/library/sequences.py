"""Sequences and transformers: frames of a signal, words of a text, mass of attention."""

from __future__ import annotations

from collections.abc import Sequence

from ..expressions import Data, Label, Net, Param, Shape, Var, argmax, ball, box, pick, synonyms, vsum
from ..spec import Spec, forall
from .regions import around
from .registry import spec

__all__ = ["attention_mass", "frame_robustness", "synonym_substitution"]


@spec("frame_robustness", numbers=(46,), form="L", suits="RNNs, LSTMs, classifiers of video and audio")
def frame_robustness(shape: Shape, classes: int, *, bounds: tuple[float, float] | None = (0.0, 1.0)) -> Spec:
    """forall x, |x_k - x0_k|_inf <= eps_k for every frame k, in bounds: argmax f(x) = c.

    shape: (frames, *features). Bind x0 (B, *shape), c (B,) and eps (B, *shape): the budget of every element,
    0 where a frame stays as it is. Violation: max over j != c of f_j - f_c, closed atoms. Source: C.-Y. Ko et
    al., POPQORN: quantifying robustness of recurrent neural networks, ICML 2019, arXiv 1905.07387.
    """
    x0, eps, c = Data("x0", shape), Data("eps", shape), Label("c", classes)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    region = ball(x0, eps)
    return forall(x, region if bounds is None else region & box(*bounds), argmax(f(x)) == c)


@spec("synonym_substitution", numbers=(25,), form="LF", suits="text classifiers on word vectors")
def synonym_substitution(
    words: int, classes: int, *, vocabulary: int, width: int, synonyms_per_word: int = 8
) -> Spec:
    """forall texts w of that length with at most k words exchanged for synonyms: argmax f(w) = c.

    f takes the vectors of the words, (words, width). Bind tokens (B, words) and others (B, words,
    synonyms_per_word), token numbers as floating point, -1 for none; the table of vectors (vocabulary,
    width), one for all; k and c (B,). Violation: max over j != c of f_j - f_c, closed atoms. Source: R. Jia
    et al., Certified robustness to adversarial word substitutions, EMNLP 2019, arXiv 1909.00986; in
    transformers, Z. Shi et al., Robustness verification for transformers, ICLR 2020, arXiv 2002.06622.
    """
    tokens, others = Data("tokens", words), Data("others", (words, synonyms_per_word))
    table, c = Data("table", (vocabulary, width)), Label("c", classes)
    w, f = Var("w", (words, width)), Net("f", (words, width), classes)
    return forall(w, synonyms(tokens, table, among=others, swaps=Param("k")), argmax(f(w)) == c)


@spec("attention_mass", numbers=(51,), form="N", suits="transformers")
def attention_mass(
    shape: Shape,
    outputs: Shape,
    *,
    node: str,
    attention: tuple[int, ...],
    rows: tuple[int, ...],
    keys: Sequence[int],
) -> Spec:
    """forall x, |x - x0|_inf <= eps: the attention that a query pays to `keys` is at most tau.

    node: name of the inner node of f that gives the probabilities, of shape `attention`, whose last axis is
    the keys; rows: which query of which head, an index for each other axis; keys: the tokens that should not
    be attended to, padding or separators, say. Bind x0 (B, *shape), eps and tau. Violation: the sum of the
    probabilities minus tau, a strict atom. Source: hidden nodes in specifications, VNN-LIB 2.0, arXiv
    2605.07451; attention as a quantity to watch, S. Jain, B. Wallace, Attention is not explanation, NAACL
    2019, arXiv 1902.10186.
    """
    x0 = Data("x0", shape)
    x, f = Var("x", like=x0), Net("f", shape, outputs, taps={node: attention})
    row = f.tap(node, x)[rows]
    return forall(x, around(x0, Param("eps"), float("inf"), None), vsum(pick(row, keys)) <= Param("tau"))
