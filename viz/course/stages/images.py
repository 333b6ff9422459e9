r"""The image as what is learned

**Aim.** The pixels are the parameters: an ideal cat, an image that fools the network, a picture in another's style.

60 minutes, difficulty 3 of 5. The network stays as it is, and the image takes the steps.

## What to know

Training moved the weights to make a loss small. The same loop moves an image instead: only what `grad` is asked for
changes. An **ideal cat** is an image with a large score for the cat. Left alone, such images fill with noise of any
size, so two things keep them at home: a penalty on the distance to grey, 1/2, and pixels are clipped to [0,1] after
each step. The gradient says which way is up; a loss goes down, so the score gets a minus.

Plain gradient descent is slow here, since the slopes differ a thousandfold. **Adam** divides each pixel's mean slope by
the root of its mean square, so that all move at about the same speed. Its two means begin at 0 and are too small at
first, and that is divided out.

An **adversarial example** wants to change the label with a change that nobody sees: no pixel by more than ε. The step
that raises the loss most under that limit is ε times the sign of the gradient (FGSM). The result must be an image, so
it is clipped to [0,1], **after** the step has been added; the sign itself has -1 in it, which clipping would lose.

**Style** is which channels of a layer are active together, wherever that is: the Gram matrix, C by C, of the products
of channels added up over all places. Content is the activations themselves. The image that has the one's content and
the other's style is found by the same loop. The constants matter: without them a layer with more channels or places
outweighs all others.

## The mathematics

With g the gradient, η the learning rate (`lr`) and t = 1, 2, ...: Adam, with β₁ = 0.9, β₂ = 0.999,

$$ m \leftarrow \beta_1 m + (1 - \beta_1)\,g, \quad v \leftarrow \beta_2 v + (1 - \beta_2)\,g^2, \quad
x \leftarrow \mathrm{clip}\Bigl(x - \eta\,\frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + 10^{-8}}\Bigr) $$

The ideal class, with λ its `penalty`, and FGSM with L the cross-entropy of the right label:

$$ -\,y(x) + \lambda \sum (x - \tfrac12)^2 \to \min, \qquad
x' = \mathrm{clip}\bigl(x + \epsilon\,\mathrm{sign}(\partial L / \partial x)\bigr) $$

Style, with F a layer's activations as a matrix (C, hw), P the content's, G and A the Gram matrices of the image and of
the style, and w the style's `weight`:

$$ G = F F^T, \qquad E = \frac{1}{4\,C^2\,(hw)^2} \sum (G - A)^2, \qquad
\frac12 \sum (F - P)^2 + w\,\frac{1}{\text{layers}} \sum_{\text{layers}} E \to \min $$

## When it works

```py
import numpy as np
from images import fgsm, ideal, transfer
from network import load, photograph, top
from PIL import Image
from tensor import Tensor
from viz.course.material import PHOTOGRAPH, WEIGHTS

network, image = load(WEIGHTS), photograph(PHOTOGRAPH)
cat = network.labels.index("cat")
grey = np.random.default_rng(0).normal(0.5, 0.1, (1, 3, 64, 64)).astype(np.float32)
waves = np.sin(np.add.outer(np.arange(112), 2 * np.arange(112)) / 5) / 2 + 0.5
style = np.stack([waves, waves.T, 1 - waves])[None].astype(np.float32)
pictures = {
    "ideal.png": ideal(network, grey, cat, steps=10),
    "fooled.png": fgsm(network, image, np.array([cat]), 8 / 255),
    "style.png": transfer(network, image, style, "relu3_1", ["relu1_1", "relu2_1"], weight=1e5, steps=5),
}
for name, picture in pictures.items():
    Image.fromarray(np.uint8(np.rint(picture[0].transpose(1, 2, 0) * 255))).save(name)
    print(name, top(network(Tensor(picture)), network.labels, 2))
```

Take 200 steps for each of the two that learn. Then measure your engine beside the project's, in your folder:
`python -m viz course measure`.

## Yours and the project's

`OMP_NUM_THREADS=1 python -m viz course measure`, on the solutions, on a shared x86-64 server:

| | yours | the project, textbook kernels | the project |
|---|---:|---:|---:|
| lines of the engine (stages 1 to 5) | 293 | 4709 | 6309 |
| lines of what stands on it (6 to 8) | 123 | 1940 | 1940 |
| scores of the photograph, ms | 42 | 26 | 10 |
| saliency, ms | 101 | 56 | 27 |
| Grad-CAM, ms | 46 | 29 | 15 |
| error of scores | 4.2e-08 | 4.4e-08 | 1.5e-07 |
| error of saliency | 1.6e-07 | 1.5e-07 | 2.0e-06 |
| error of Grad-CAM | 3.4e-07 | 2.0e-07 | 6.1e-07 |

Lines hold code: no comments, docstrings or empty ones; yours are with what the stubs give, the project's without what
is for GPUs and for looking at networks. Times are the least of fifteen, on one thread; an engine's three take turns, so
that another's load meets all of them. Errors are the largest differences from the project in float64, of the largest
value. What the rest of the code buys is above all time: your convolution copies each pixel
nine times, and your `grad` also takes the gradients by the weights that a layer's vjp returns and nobody wants. It buys
no accuracy: Winograd's algorithm, the fastest, even costs a digit of the gradient. The other lines are for what you
left out: strides, groups and float16, networks that branch, sentences for mistakes, second thoughts about memory.

## In the engine

`viz/maximize.py`, `viz/attacks.py`, `viz/gram.py` and `viz/style.py` on one loop, `viz/optimize.py`. There the steps
are those of any optimiser of `minigrad/optim.py`, what the network sees is shifted a little at each step, which keeps
noise out better than the penalty, and an image may be a set of Fourier coefficients. `viz.fgsm` leaves an image alone
that is named wrong already.

## Hints

1. `adam`: m and v start as `np.zeros_like(image)`; for t from 1, `x = Tensor(image)`, `g = grad(loss(x), [x])[0].data`.
   Keep the pixels' dtype: Python's numbers do no harm, but `np.sqrt(2)` is a float64 of NumPy's, and makes float64.
2. `ideal`: a function of x for `adam`: `lambda x: -class_score(network(x), target) + ...`, and the penalty is
   `((x - 0.5) ** 2).sum() * penalty`.
3. `fgsm`: `image + epsilon * np.sign(g)`, then `np.clip(..., 0, 1)`, in this order.
4. `gram`: reshape to (N, C, h w); the matrix times its `swap`.
5. `style_loss`: C is `a.shape[1]`, and `a.shape[2] * a.shape[3]` places.
6. `transfer`: before the loop the content's activations and the style's Gram matrices, as arrays (`.data`); in it one
   pass gives all layers: `network.activations(x, [content_layer, *style_layers])`.
"""

import numpy as np
from learning import cross_entropy
from rules import class_score
from tensor import Tensor, grad, swap


def adam(loss, image, steps, lr):
    """An array of image's dtype: `image` after Adam's steps down loss, a function from a Tensor to one of one number.

    image: an array with values in [0,1], to which pixels are clipped after each step. lr: the learning rate.
    """
    # YOURS: two means, of the gradient and of its square; for each step the formula above
    m, v = np.zeros_like(image), np.zeros_like(image)
    for t in range(1, steps + 1):
        x = Tensor(image)
        g = grad(loss(x), [x])[0].data
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        image = np.clip(image - lr * step, 0, 1)
    return image
    # END


def ideal(network, image, target, steps=100, lr=0.05, penalty=0.001):
    """(N,3,H,W), an array: from `image` on, the class's score large, penalty times the sum of (x - 1/2)^2 small."""
    # YOURS: the loss as a function of x, and adam
    return adam(lambda x: ((x - 0.5) ** 2).sum() * penalty - class_score(network(x), target), image, steps, lr)
    # END


def fgsm(network, image, labels, epsilon=8 / 255):
    """(N,3,H,W), an array of image's dtype: image, moved up the loss of its labels (N,) by epsilon in each pixel."""
    # YOURS: the gradient of the cross-entropy; its sign; the step; and back into [0,1]
    x = Tensor(image)
    g = grad(cross_entropy(network(x), labels), [x])[0].data
    return np.clip(image + epsilon * np.sign(g), 0, 1)
    # END


def gram(a):
    """(N,C,C), a Tensor: the products of each two channels of the Tensor a (N,C,h,w), added up over all places."""
    # YOURS: a row for each channel, times its transpose
    features = a.reshape((*a.shape[:2], -1))
    return features @ swap(features)
    # END


def style_loss(a, wanted):
    """E, a Tensor with one number: of the activations a (N,C,h,w), a Tensor; wanted: the style's Gram matrices."""
    # YOURS: the squares of the differences, added up, with the constants
    _, c, h, w = a.shape
    return ((gram(a) - wanted) ** 2).sum() * (1 / (4 * c**2 * (h * w) ** 2))
    # END


def transfer(network, content, style, content_layer, style_layers, weight=1e5, steps=100, lr=0.02):
    """(1,3,H,W), an array: from `content` on, with its activations and the style's Gram matrices; sizes are equal."""
    # YOURS: what is wanted, as arrays; the loss as a function of x, with one pass; and adam
    wanted = network.activations(Tensor(content), [content_layer])[content_layer].data
    grams = {name: gram(a).data for name, a in network.activations(Tensor(style), style_layers).items()}

    def loss(x):
        found = network.activations(x, [content_layer, *style_layers])
        differs = ((found[content_layer] - wanted) ** 2).sum() * 0.5
        for name, g in grams.items():
            differs = differs + style_loss(found[name], g) * (weight / len(grams))
        return differs

    return adam(loss, content, steps, lr)
    # END
