"""PCA and silhouette against scikit-learn and by hand; t-SNE on clusters that are there."""

import numpy as np
import pytest

from viz import embedding


@pytest.fixture
def clusters():
    """45 points in 6 dimensions, in three clusters of different sizes, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [10, 15, 20])
    return rng.standard_normal((3, 6))[labels] * 4 + rng.standard_normal((45, 6)), labels


def test_pca_reconstructs_and_its_shares_are_variances(clusters):
    x, _ = clusters
    points, axes, shares = embedding.pca(x, 6)
    np.testing.assert_allclose(points @ axes, x - x.mean(0), atol=1e-12)
    np.testing.assert_allclose(axes @ axes.T, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(points.var(0) / x.var(0).sum(), shares, rtol=1e-10)
    assert shares.sum() == pytest.approx(1) and (np.diff(shares) < 0).all()


def test_pca_is_scikit_learns(clusters):
    decomposition = pytest.importorskip("sklearn.decomposition")
    x, _ = clusters
    points, axes, shares = embedding.pca(x, 3)
    theirs = decomposition.PCA(3, svd_solver="full").fit(x)
    np.testing.assert_allclose(axes, theirs.components_, atol=1e-12)  # signs too
    np.testing.assert_allclose(points, theirs.transform(x), atol=1e-12)
    np.testing.assert_allclose(shares, theirs.explained_variance_ratio_, rtol=1e-12)


def test_the_sign_does_not_depend_on_the_order_of_points(clusters):
    x, _ = clusters
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_allclose(embedding.pca(x[order])[0], embedding.pca(x)[0][order], atol=1e-10)


def test_silhouette_by_hand():
    x = np.array([[0.0], [1.0], [5.0], [7.0]])
    # a: 1, 1, 2, 2; b: 6, 5, 4.5, 6.5
    expected = np.mean([5 / 6, 4 / 5, 2.5 / 4.5, 4.5 / 6.5])
    assert embedding.silhouette(x, [0, 0, 1, 1]) == pytest.approx(expected)
    # of a lone point and a pair, the pair has b = 5 and 4, and the lone point counts 0
    assert embedding.silhouette(x[:3], ["a", "a", "b"]) == pytest.approx(np.mean([4 / 5, 3 / 4, 0]))


def test_silhouette_is_scikit_learns(clusters):
    metrics = pytest.importorskip("sklearn.metrics")
    x, labels = clusters
    assert embedding.silhouette(x, labels) == pytest.approx(metrics.silhouette_score(x, labels), rel=1e-9)


def test_tsne_keeps_clusters_together_and_is_seeded(clusters):
    pytest.importorskip("sklearn")
    x, labels = clusters
    found = embedding.tsne(x, perplexity=10, seed=0)
    assert found.shape == (45, 2) and embedding.silhouette(found, labels) > 0.5
    np.testing.assert_array_equal(found, embedding.tsne(x, perplexity=10, seed=0))


def test_features_are_the_layers_activations_batch_by_batch(small_network, images):
    model, x = small_network(), images(5)
    found = embedding.features(model, x, "pool1", batch_size=2)
    assert found.shape == (5, 6 * 3 * 2)
    np.testing.assert_allclose(found[4], embedding.features(model, x[4:], "pool1")[0], rtol=1e-12)


def test_mistakes_are_named(clusters):
    x, labels = clusters
    with pytest.raises(ValueError, match="components"):
        embedding.pca(x, 7)
    with pytest.raises(ValueError, match="classes"):
        embedding.silhouette(x, np.zeros(45))
    with pytest.raises(ValueError, match="at least 5"):
        embedding.tsne(x[:4])
