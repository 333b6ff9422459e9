// How far maps agree: the correlation of their ranks (Spearman 1904). Here, as their colours are, for the maps are here:
// the server keeps none, so it would have to be sent all of them again whenever one has come.

// Of each value its place in their order, from the mean 0 on; equal ones share the mean of theirs.
export function ranks(values) {
  const order = Uint32Array.from(values.keys()).sort((i, j) => values[i] - values[j]);
  const found = new Float64Array(values.length);
  for (let first = 0, next; first < order.length; first = next) {
    for (next = first + 1; next < order.length && values[order[next]] === values[order[first]]; next++);
    for (let n = first; n < next; n++) found[order[n]] = (first + next - order.length) / 2;
  }
  return found;
}

// Of two results of `ranks`, in [-1,1]; 0 where one is the same everywhere.
export function correlation(one, other) {
  const product = (a, b) => a.reduce((sum, x, n) => sum + x * b[n], 0);
  const size = Math.sqrt(product(one, one) * product(other, other));
  return size === 0 ? 0 : product(one, other) / size;
}
