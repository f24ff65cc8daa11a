"""Thirteen groups of properties, each a few lines; tests bind them to small networks and bracket them."""

from math import inf

from robustbench_local.specs import (
    Data,
    Label,
    Net,
    Param,
    Term,
    Var,
    add,
    always,
    argmax,
    ball,
    box,
    chance,
    choice,
    close,
    concat,
    conf,
    cos,
    dot,
    each,
    exists,
    forall,
    implies,
    iou,
    norm,
    normal,
    patch,
    pick,
    rank,
    rate,
    rollout,
    rotate,
    segment,
    sin,
    softmax,
    stack,
    synonyms,
    vmax,
    vsum,
)

IMAGE, CLASSES = (1, 6, 6), 4
f, g = Net("f", IMAGE, CLASSES), Net("g", IMAGE, CLASSES)
x0, c, eps = Data("x0", IMAGE), Label("c", CLASSES), Param("eps", 8 / 255)
x = Var("x", like=x0)

# 1 local robustness, p = inf, 2, 1 or 0; top-k
rob = forall(x, ball(x0, eps, p=inf) & box(0, 1), argmax(f(x)) == c)
topk = forall(x, ball(x0, eps, p=2) & box(0, 1), rank(f(x), c) <= 2)

# 2 a patch anywhere never makes it class 3
pat = forall(x, patch(x0, size=(2, 2)) & box(0, 1), argmax(f(x)) != 3)

# 3 conditional safety in physical units; the normalisation is part of the property
MEAN, RANGE = [19791.091, 0.0, 0.0, 650.0, 600.0], [60261.0, 6.28318530718, 6.28318530718, 1100.0, 1200.0]
LOW = [0.0, -3.141593, -3.141593, 100.0, 0.0]
HIGH = [60760.0, 3.141593, 3.141593, 1200.0, 1200.0]
acas = Net("acas", 5, 5)
s = Var("s", 5, names=["rho", "theta", "psi", "vo", "vi"], units=["ft", "rad", "rad", "ft/s", "ft/s"])
scores = acas((s - MEAN) / RANGE) * 373.94992 + 7.518884
p1 = forall(s, box(LOW, HIGH) & (s.rho >= 55947.691) & (s.vo >= 1145) & (s.vi <= 60), scores[0] <= 1500)

# 4 a price rises with feature 2: two evaluations, a step apart
price = Net("price", 12, 1)
q, d = Var("q", 12), Var("d")
mono = forall([q, d], box(0, 1)(q) & box(0, 5)(d), price(add(q, 2, d)) - price(q) >= 0)

# 5 fairness: any value of the protected attribute, a small drift elsewhere
SEX = 3
score, other = Net("score", 12, 1), Var("other", 12)
fair = forall(
    [q, other],
    box(0, 1)(q) & box(0, 1)(other) & close(q, other, 0.02, except_=[SEX]) & choice(other[SEX], [0, 1]),
    abs(score(q) - score(other)) <= 0.1,
)

# 6 Lipschitz between points at most 0.1 apart: no division
h = Net("h", 4, 3)
u, v = Var("u", 4), Var("v", 4)
lip = forall([u, v], box(0, 1)(u) & ball(u, 0.1)(v), norm(h(u) - h(v), inf) <= 4 * norm(u - v, inf) + 0.5)

# 7 the variable is the change of the image, not the image
t = Var("t", 2, names=["angle", "gain"])
inv = forall(t, box([-5, 0.9], [5, 1.1]), argmax(f(rotate(x0, t.angle) * t.gain)) == c)

# 8 doubt far from the data
ood = forall(x, ball(x0, eps), vmax(softmax(f(x))) <= 0.5)

# 9 a learned pendulum gains no energy; angles, not (cos, sin), are the variables
dyn = Net("dyn", 3, 3)
st = Var("st", 2, names=["th", "om"])


def circle(state: Term) -> Term:
    """(cos angle, sin angle, speed)."""
    return stack(cos(state[0]), sin(state[0]), state[1])


def energy(state: Term) -> Term:
    """Per mass, at (cos angle, sin angle, speed)."""
    return state[2] ** 2 / 2 + 9.81 * (1 - state[0])


phys = forall(st, box([-0.5, -1], [0.5, 1]), energy(dyn(circle(st))) <= energy(circle(st)) + 1e-3)

# 10 no label that means something else
DISTANCE = Data("DISTANCE", (CLASSES, CLASSES))
sem = forall(x, ball(x0, eps), dot(softmax(f(x)), DISTANCE[c]) <= 1.5)

# 11 compression: agree wherever f is confident
eqv = forall(x, ball(x0, eps), implies(conf(f(x)) >= 0.9, argmax(f(x)) == argmax(g(x))))

# 12 generators, autoencoders, flows, coverage of modes
G, smile, cls = Net("G", 2, 8), Net("smile", 8, 1), Net("cls", 8, 10)
z, z1, z2 = Var("z", 2), Data("z1", 2), Data("z2", 2)
gan = forall(z, segment(z1, z2), smile(G(z))[0] > 0)
mu, sig, dec = Net("mu", 8, 2), Net("sig", 8, 2), Net("dec", 2, 8)
e, y0 = Var("e", 2), Data("y0", 8)
vae = forall(e, box(-2, 2), norm(y0 - dec(mu(y0) + sig(y0) * e), 2) ** 2 <= 40)
fwd, back, y = Net("fwd", 8, 8), Net("back", 8, 8), Var("y", 8)
flow = forall(y, ball(y0, eps), norm(back(fwd(y)) - y, inf) <= 1e-4)
cov = each(range(10), lambda k: exists(z, ball([0, 0], 3, p=2), argmax(cls(G(z))) == k))

# 13 time, text, attention, detection, Lyapunov functions, probability, whole data sets
T = 4
net, speed, w = Net("net", 6, 2), Net("speed", 2, 1), Var("w", (T, 4))
path = rollout(lambda state, command: net(concat(state, command)), [0.0, 0.0], T, inputs=w)
rnn = forall(w, box(-1, 1), always(T + 1, lambda k: speed(path[k])[0] <= 30))
text, meanings = Data("text", 5), Data("meanings", (5, 3))
table, reads, r = Data("table", (20, 4)), Net("reads", (5, 4), CLASSES), Var("r", (5, 4))
txt = forall(r, synonyms(text, table, among=meanings, swaps=3), argmax(reads(r)) == c)
vit = Net("vit", (3, 2), CLASSES, taps={"weights": (1, 3, 3)})
tokens, near = Data("tokens", (3, 2)), Var("near", (3, 2))
att = forall(near, ball(tokens, eps), vsum(pick(vit.tap("weights", near)[0, 0], [0, 2])) <= 0.9)
boxes, truth = Net("boxes", IMAGE, 4), Data("truth", 4)
det = forall(x, ball(x0, eps), iou(boxes(x), truth) >= 0.5)
V, pi, step, a = Net("V", 2, 1), Net("pi", 2, 1), Net("step", 3, 2), Var("a", 2)
after = step(concat(a, pi(a)))
lyap = forall(a, box(-1, 1) - ball([0, 0], 0.05), (V(a) > 0) & (V(after) - V(a) <= -1e-3))
prob = chance(u, normal(Data("u0", 4), 0.1), h(u)[0] <= h(u)[1]) >= 0.99
acc = rate(rob) >= 0.6  # of the images that x0 and c are bound to
