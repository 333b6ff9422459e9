r"""Rules: what the network looked at

**Aim.** Saliency, deconvnet, guided backpropagation and Grad-CAM, each a few lines on your own `grad`.

50 minutes, difficulty 3 of 5. The network and the photograph are those of stage 6.

## What to know

The gradient of a class's score by the pixels says which pixels the score reacts to. It is taken of the **score**, the
output of the last layer, not of the probability: softmax mixes in all other classes, and where the network is sure its
slope is almost 0. The gradient has a value for each colour, and a sign. **Saliency** asks how much, not which way: of
each pixel the largest magnitude among its three channels.

Two methods change one thing on the way back, what a ReLU does with the gradient g that comes from above. Let x be the
ReLU's input:

| | hands on | where |
|---|---|---|
| gradient | g | x > 0 |
| deconvnet | g | g > 0 |
| guided backpropagation | g | x > 0 and g > 0 |

Your `grad` takes that as a rule, for all ReLUs of the network at once. A rule gets the Function and g, and returns what
its vjp would: a tuple with one Tensor. Both results keep their sign.

**Grad-CAM** goes back only to the maps A of a late layer, (N,C,h,w): each channel gets a weight, the mean over all
places of the score's gradient by it, and the map is the weighted **sum** of the channels. What speaks against the class
is negative and is left out, by a ReLU. The map has the layer's few places, 7x7 in MiniVGG, and is stretched to the
image's size, bilinearly.

## The mathematics

$$ M_{ij} = \max_c \left| \frac{\partial y}{\partial x_{c,i,j}} \right|, \qquad
a_k = \frac{1}{hw} \sum_{i,j} \frac{\partial y}{\partial A_{k,i,j}}, \qquad
L_{ij} = \max\Bigl(0, \sum_k a_k A_{k,i,j}\Bigr) $$

Bilinear: the middle of pixel i of H lies at s = (i + 1/2) h/H - 1/2 in the map, where element j has its middle at j;
s is kept within 0 and h - 1. The value there is the sum over j of max(0, 1 - |s - j|) times element j. For rows and
columns that is a matrix each, R of (H,h) and C of (W,w), and the stretched map is R L Cᵀ.

## When it works

```py
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from network import load, photograph
from rules import grad_cam, guided_backprop, saliency
from viz.course.material import PHOTOGRAPH, WEIGHTS

network, image = load(WEIGHTS), photograph(PHOTOGRAPH)
cat = network.labels.index("cat")
guided = guided_backprop(network, image, cat)[0].transpose(1, 2, 0)
pictures = {
    "image": image[0].transpose(1, 2, 0),
    "saliency": saliency(network, image, cat)[0],
    "guided": 0.5 + guided / abs(guided).max() / 2,
    "Grad-CAM": grad_cam(network, image, cat, "relu5_2")[0],
}
for place, (name, picture) in zip(plt.subplots(1, 4, figsize=(12, 3))[1], pictures.items()):
    place.imshow(picture)
    place.set(title=name, xticks=[], yticks=[])
plt.savefig("looked_at.png")
print("looked_at.png")
```

Grad-CAM is largest at the right eye, then at the left one and at the nose, and the project's map is the same. It is
where we would look because this network was taught to look there (`docs/attend.py`); with its weights before that, the
map was 0 at the left eye and largest at the left edge. Grad-CAM shows where a network found evidence, wherever that is.
Ask for another class than the cat, the zebra say. Which of the three maps change, and which hardly does?

## In the engine

`viz/gradients.py`, `viz/rectifiers.py` and `viz/cam.py`. The rules are the same line; there they cover other
rectifiers too (ReLU6, PReLU, a maximum with 0). The last maps are found from the graph, and bilinear resizing is a
Function with a vjp, `interpolate` in `minigrad/functional/resample.py`.

## Hints

1. `class_score`: without indexing, multiply by an array that is 1 at `target` and 0 elsewhere, and sum:
   `np.eye(K, dtype=...)[target]`.
2. `saliency`: `x = Tensor(image)`, `grad(class_score(network(x), target), [x])[0].data`, its magnitude, and the
   largest over axis 1.
3. `guided`: the mask is `(function.inputs[0].data > 0) & (g.data > 0)`, as an array of g's dtype; return `(g * mask,)`.
   The comma makes the tuple.
4. `guided_backprop`: as in saliency, with `rules={ReLU: guided}`, and as it comes.
5. `resized`: for H and h, `s = np.clip((np.arange(H) + 0.5) * h / H - 0.5, 0, h - 1)` and
   `np.maximum(0, 1 - np.abs(s[:, None] - np.arange(h)))`. A batch of maps in the middle of two `@` stays a batch.
6. `grad_cam`: `network.activations(x, [layer, last])`, where last is the last of `network.layers`; one `grad` by the
   activation of `layer`; its `.data.mean((2, 3), keepdims=True)`.
"""

import numpy as np
from tensor import ReLU, Tensor, grad


def class_score(scores, target):
    """The score of class `target`, a Tensor with one number: of each image in scores (N,K), added up."""
    # YOURS: multiply by an array of the scores' dtype that is 1 at target, and sum
    return (scores * np.eye(scores.shape[1], dtype=scores.dtype)[target]).sum()
    # END


def saliency(network, image, target):
    """(N,H,W), an array: the largest magnitude, over channels, of the score's gradient by image (N,3,H,W), an array."""
    # YOURS: the gradient of class_score by a Tensor of image; magnitudes; the largest of the channels
    x = Tensor(image)
    return abs(grad(class_score(network(x), target), [x])[0].data).max(1)
    # END


def deconv(function, g):
    """The rule of deconvnet for a ReLU `function`: a tuple with one Tensor."""
    # YOURS: g where it is above 0
    return (g * (g.data > 0).astype(g.dtype),)
    # END


def guided(function, g):
    """The rule of guided backpropagation for a ReLU `function`: a tuple with one Tensor."""
    # YOURS: g where it is above 0 and the ReLU's input is, too
    return (g * ((function.inputs[0].data > 0) & (g.data > 0)).astype(g.dtype),)
    # END


def deconvnet(network, image, target):
    """(N,3,H,W), an array with signs: the gradient by image (N,3,H,W), an array, with the rule of deconvnet."""
    # YOURS: as in saliency up to the gradient, with a rule for ReLU
    x = Tensor(image)
    return grad(class_score(network(x), target), [x], rules={ReLU: deconv})[0].data
    # END


def guided_backprop(network, image, target):
    """(N,3,H,W), an array with signs: the same with the rule of guided backpropagation."""
    # YOURS: the same with the other rule
    x = Tensor(image)
    return grad(class_score(network(x), target), [x], rules={ReLU: guided})[0].data
    # END


def resized(maps, size):
    """(N,H,W), an array of maps' dtype: the array maps (N,h,w) stretched bilinearly to size (H,W)."""
    # YOURS: a matrix (H,h) for the rows and one (W,w) for the columns, and two products
    matrices = []
    for large, small in zip(size, maps.shape[1:], strict=True):
        s = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
        matrices.append(np.maximum(0, 1 - np.abs(s[:, None] - np.arange(small))).astype(maps.dtype))
    rows, columns = matrices
    return rows @ maps @ columns.T
    # END


def grad_cam(network, image, target, layer):
    """(N,H,W), an array: the Grad-CAM map of the layer of this name, of the size of image (N,3,H,W), an array."""
    # YOURS: maps and scores of one pass; weights by the mean of the gradient; weighted sum, ReLU, and the image's size
    last = list(network.layers)[-1]
    found = network.activations(Tensor(image), [layer, last])
    maps = found[layer]
    g = grad(class_score(found[last], target), [maps])[0].data
    cam = (g.mean((2, 3), keepdims=True) * maps.data).sum(1)
    return resized(np.maximum(cam, 0), image.shape[2:])
    # END
