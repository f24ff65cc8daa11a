"""Changed certificates: rejected wherever what they say does not follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from robustbench_local.checker import check

from .samples import Parts, certificate, parts, write

Change = Callable[[Parts], None]


@pytest.fixture(scope="module", params=["dense", "narrow", "residual", "sigmoid", "pooled"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with splits where the kind of network needs them."""
    share = {"dense": 0.1, "residual": 0.2, "pooled": 0.9}.get(request.param, 0.3)
    return certificate(tmp_path_factory.mktemp("proofs") / "proof", request.param, share=share, seed=3)


def claim_changes(found: Parts) -> Iterator[tuple[str, Change]]:
    """Changes of network and specification that the hashes must notice, the smallest ones possible."""
    header, arrays = found
    for name, array in arrays.items():
        if name.startswith(("network/", "spec/")):
            for place in {0, array.size // 2, array.size - 1}:

                def flip(p: Parts, name: str = name, place: int = place) -> None:
                    raw = p[1][name].reshape(-1).view(np.uint8)
                    raw[place * p[1][name].itemsize] ^= 1

                yield f"{name}[{place}]", flip
            yield f"{name} gone", lambda p, name=name: p[1].pop(name)  # type: ignore[misc]
            yield f"{name} wider", lambda p, name=name: p[1].update({name: np.stack([p[1][name]] * 2)})  # type: ignore[misc]
    for number in range(1, len(header["network"]["nodes"])):
        yield f"node {number} gone", lambda p, number=number: p[0]["network"]["nodes"].pop(number)  # type: ignore[misc]
    yield "clause gone", lambda p: p[0]["spec"]["clauses"].pop()
    yield "strictness", lambda p: p[0]["spec"]["clauses"].__setitem__(0, [[0, 1]])
    yield "clause of another atom", lambda p: p[0]["spec"]["clauses"].__setitem__(0, [[1, 0]])
    for part in ("network", "spec"):
        yield f"{part} hash", lambda p, part=part: p[0]["sha256"].update({part: "0" * 64})  # type: ignore[misc]
        yield f"{part} no hash", lambda p, part=part: p[0]["sha256"].pop(part)  # type: ignore[misc]
    yield "format", lambda p: p[0].update(format="other")
    yield "version", lambda p: p[0].update(version=1)
    yield "arithmetic", lambda p: p[0].update(arithmetic="float32")
    yield "extra hash", lambda p: p[0]["sha256"].update(other="0" * 64)


def test_every_change_of_the_claim_is_rejected(original: Path, tmp_path: Path) -> None:
    changes = list(claim_changes(parts(original)))
    assert len(changes) >= 40
    for name, change in changes:
        changed = parts(original)
        change(changed)
        found = check(write(tmp_path / "changed", changed))
        assert not found.accepted and found.reason, name


def claims_made_false(found: Parts) -> Iterator[tuple[str, Change]]:
    """Other claims with hashes that fit, which are false or say nothing: nothing can prove them."""

    def lower_thresholds(p: Parts) -> None:
        p[1]["spec/d"] += 10.0 * np.abs(p[1]["spec/d"]).max()

    def wide_box(p: Parts) -> None:
        p[1]["spec/lower"] -= 1e4
        p[1]["spec/upper"] += 1e4

    def empty_box(p: Parts) -> None:
        p[1]["spec/lower"], p[1]["spec/upper"] = p[1]["spec/upper"] + 1, p[1]["spec/lower"]

    yield "thresholds", lower_thresholds
    yield "wide box", wide_box
    yield "empty box", empty_box
    yield "opposite rows", lambda p: p[1].update({"spec/C": -p[1]["spec/C"], "spec/d": -p[1]["spec/d"]})
    yield "no clause", lambda p: p[0]["spec"].update(clauses=[])
    yield "clause without atoms", lambda p: p[0]["spec"].update(clauses=[[], [], []])
    yield (
        "no problem",
        lambda p: p[1].update({f"spec/{k}": p[1][f"spec/{k}"][:0] for k in ("lower", "upper", "C", "d")}),
    )
    yield (
        "another problem more",
        lambda p: p[1].update(
            {f"spec/{k}": np.concatenate([p[1][f"spec/{k}"]] * 2) for k in ("lower", "upper", "C", "d")}
        ),
    )
    yield "clause twice", lambda p: p[0]["spec"]["clauses"].append(p[0]["spec"]["clauses"][0])
    for name in ("spec/lower", "spec/upper", "spec/C", "spec/d"):
        for value in (np.nan, np.inf, -np.inf, 1e200):
            yield f"{name} {value}", lambda p, n=name, v=value: p[1][n].reshape(-1).__setitem__(0, v)  # type: ignore[misc]
    for name, array in found[1].items():
        if name.startswith("network/") and array.dtype.kind == "f":
            for value in (np.nan, np.inf):
                yield f"{name} {value}", lambda p, n=name, v=value: p[1][n].reshape(-1).__setitem__(0, v)  # type: ignore[misc]
    for number, about in enumerate(found[0]["network"]["nodes"]):
        if about["op"] in ("add", "max"):
            for inputs in ([], [number], [number + 1, 0], [-1, *about["inputs"]], [0, *about["inputs"]]):
                yield (
                    f"{about['op']} {number} of {inputs}",
                    lambda p, n=number, i=inputs: p[0]["network"]["nodes"][n].update(inputs=i),
                )  # type: ignore[misc]
    yield "output of another size", lambda p: p[1].update({"spec/C": p[1]["spec/C"][..., :-1]})


def test_false_claims_are_rejected_whatever_their_hashes(original: Path, tmp_path: Path) -> None:
    for name, change in claims_made_false(parts(original)):
        changed = parts(original)
        change(changed)
        found = check(write(tmp_path / "changed", changed, rehash=True))
        assert not found.accepted and found.readable, name


def broken_proofs(found: Parts) -> Iterator[tuple[str, Change]]:
    """Proofs that prove nothing any more, of a claim that is still true."""
    numbers = [n for n in found[1] if n.startswith("proof/")]
    for name in numbers:
        if not name.endswith((".below", ".above")):  # without them the usual slopes may do
            yield f"{name} gone", lambda p, n=name: p[1].pop(n)  # type: ignore[misc]
    for name in ("nodes", "coordinates", "points", "weights", "sets", "about"):
        yield f"{name} cut", lambda p, n=name: p[1].update({f"proof/{n}": p[1][f"proof/{n}"][:-1]})  # type: ignore[misc]
    for name in ("nodes", "weights", "sets", "about", "multipliers"):

        def twice(p: Parts, n: str = name) -> None:
            array = p[1][f"proof/{n}"]
            p[1][f"proof/{n}"] = np.concatenate(
                [array, array[-1:] if len(array) else np.zeros(1, np.float32)]
            )

        yield f"{name} longer", twice
    for value in (np.nan, np.inf, -1.0):
        yield f"weight {value}", lambda p, v=value: p[1]["proof/weights"].__setitem__((0, 0), v)  # type: ignore[misc]
        yield (
            f"point {value}",
            lambda p, v=value: p[1]["proof/points"].__setitem__(0, v if v != -1 else np.nan),
        )  # type: ignore[misc]
        if found[1]["proof/multipliers"].size:
            yield f"multiplier {value}", lambda p, v=value: p[1]["proof/multipliers"].__setitem__(0, v)  # type: ignore[misc]
    yield "no weights", lambda p: p[1]["proof/weights"].fill(0.0)
    yield "leaf becomes a split", lambda p: p[1]["proof/nodes"].__setitem__(-1, 1)
    yield "split of no node", lambda p: p[1]["proof/nodes"].__setitem__(-1, 10_000)
    yield "set that is not there", lambda p: p[1]["proof/sets"].fill(10_000)
    yield "no ways", lambda p: p[0]["proof"].update(ways=[])
    for entry in ("symbols", "refined", "clipped"):
        yield f"no {entry}", lambda p, e=entry: [way.pop(e) for way in p[0]["proof"]["ways"]]  # type: ignore[misc]
    for refined in (
        [[1, 0, -1]],
        [[1, 0, -2, 0]],
        [[1, -1, 0, 1]],
        [[1, 0.5, 0, 0]],
        [1],
        "1",
        [[1, 0, 0, 1]],
    ):
        yield (
            f"refined {refined}",
            lambda p, r=refined: [way.update(refined=r) for way in p[0]["proof"]["ways"]],
        )  # type: ignore[misc]
    for clipped in ([10_000], [-1], 1, "1", [1.0]):
        if any(way["clipped"] for way in found[0]["proof"]["ways"]) and (found[1]["proof/nodes"] > 0).any():
            yield (
                f"clipped {clipped}",
                lambda p, c=clipped: [way.update(clipped=c) for way in p[0]["proof"]["ways"]],
            )  # type: ignore[misc]
    yield "way that is not there", lambda p: p[1]["proof/about"].__setitem__((0, 1), 10_000)
    yield "way below zero", lambda p: p[1]["proof/about"].__setitem__((0, 1), -1)
    yield "outer box that is not there", lambda p: p[1]["proof/about"].__setitem__((0, 0), 10_000)
    yield "inner box", lambda p: p[1]["proof/about"].__setitem__((0, 0), -1)
    yield "no entry", lambda p: p[0].pop("proof")
    if (found[1]["proof/nodes"] > 0).any():
        at = int(np.flatnonzero(found[1]["proof/nodes"] > 0)[0])
        yield "split becomes a leaf", lambda p: p[1]["proof/nodes"].__setitem__(at, -1)
        yield "coordinate that is not there", lambda p: p[1]["proof/coordinates"].__setitem__(at, 10_000)
        yield "coordinate below zero", lambda p: p[1]["proof/coordinates"].__setitem__(at, -1)
        yield (
            "split outside the box",
            lambda p: p[1]["proof/nodes"].__setitem__(at, 0) or p[1]["proof/points"].__setitem__(at, 50.0),
        )
    for name in numbers:
        if name.endswith((".below", ".above")) and found[1][name].dtype.kind == "f":
            for value in (np.nan, np.inf, 1e9):
                yield f"{name} {value}", lambda p, n=name, v=value: p[1][n].reshape(-1).__setitem__(0, v)  # type: ignore[misc]
        if name.endswith(".ids") and found[1][name].size:
            yield f"{name} below zero", lambda p, n=name: p[1][n].__setitem__(0, -1)  # type: ignore[misc]
            yield f"{name} too large", lambda p, n=name: p[1][n].__setitem__(0, 10_000)  # type: ignore[misc]


def test_broken_proofs_are_rejected(original: Path, tmp_path: Path) -> None:
    used = bool((parts(original)[1]["proof/sets"] >= 0).any())
    for name, change in broken_proofs(parts(original)):
        changed = parts(original)
        change(changed)
        found = check(write(tmp_path / "changed", changed))
        if not used and name.startswith("set that"):
            continue
        assert not found.accepted and found.reason and found.readable, name


def test_changed_parameters_prove_the_claim_or_are_rejected(original: Path, tmp_path: Path) -> None:
    """Slopes, multipliers and points of splits are free: whatever they are, only the truth is accepted."""
    rng, accepted = np.random.default_rng(0), 0
    for _ in range(40):
        changed = parts(original)
        for name, array in changed[1].items():
            if name.endswith((".below", ".above")):
                span = 256 if array.dtype == np.uint8 else 1
                mask = rng.random(array.shape) < 0.05
                array[mask] = (rng.random(array.shape) * span).astype(array.dtype)[mask]
            elif name in ("proof/multipliers", "proof/points"):
                array *= 1 + 0.1 * rng.standard_normal(array.shape).astype(array.dtype)
                np.abs(array, out=array) if name == "proof/multipliers" else None
        found = check(write(tmp_path / "changed", changed))
        accepted += found.accepted
        assert found.accepted or found.reason
    false = parts(original)
    false[1]["spec/d"] += 10.0 * np.abs(false[1]["spec/d"]).max()
    for name in ("proof/points", "proof/multipliers"):
        false[1][name] *= 1.1
    assert not check(write(tmp_path / "changed", false, rehash=True)).accepted


def test_cut_and_damaged_files_are_unreadable_or_rejected(original: Path, tmp_path: Path) -> None:
    whole, path = original.read_bytes(), tmp_path / "changed"
    for size in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        found = check(path)
        assert not found.accepted and not found.readable and found.reason
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(whole), 40):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(bytes(damaged))
        found = check(path)
        same = False
        if found.accepted:  # a byte of the archive that carries no content, such as a date
            one, other = parts(original), parts(path)
            same = one[0] == other[0] and all(np.array_equal(one[1][k], other[1][k]) for k in one[1])
        assert not found.accepted or same


def test_more_than_two_hundred_changes_are_made(original: Path) -> None:
    found = parts(original)
    count = sum(len(list(changes(found))) for changes in (claim_changes, claims_made_false, broken_proofs))
    assert count >= 100  # of each of four certificates
