"""Reference implementations in float64 NumPy, channels first as in the paper."""

import numpy as np


def relative_error(actual, expected):
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def l2_normalize(x, axis):
    # The floor keeps bases finite that the softmax at temperature 1/100 leaves without positions.
    return x / np.sqrt(np.maximum((x**2).sum(axis, keepdims=True), 1e-12))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def transpose(x):
    return np.swapaxes(x, -1, -2)


def nmf_factors(x, bases, num_steps):
    x, a = np.maximum(np.asarray(x, np.float64), 0), np.asarray(bases, np.float64)
    c = softmax(transpose(x) @ a)
    for _ in range(num_steps):
        c = c * (transpose(x) @ a) / (c @ (transpose(a) @ a) + 1e-6)
        a = a * (x @ c) / (a @ (transpose(c) @ c) + 1e-6)
    return a, c


def nmf(x, bases, num_steps):
    a, c = nmf_factors(x, bases, num_steps)
    x = np.maximum(np.asarray(x, np.float64), 0)
    return a @ transpose(c * (transpose(x) @ a) / (c @ transpose(a) @ a + 1e-6))


def cd_bases(x, bases, num_steps, inverse_temperature=100):
    x, a = np.asarray(x, np.float64), l2_normalize(np.asarray(bases, np.float64), axis=1)
    x_hat = l2_normalize(x, axis=1)
    for _ in range(num_steps):
        c = softmax(inverse_temperature * transpose(x_hat) @ a)
        c = c / (1e-6 + c.sum(1, keepdims=True))
        a = l2_normalize(x @ c, axis=1)
    return a


def cd(x, bases, num_steps, ridge=0.01):
    a = cd_bases(x, bases, num_steps)
    gram = transpose(a) @ a + ridge * np.eye(a.shape[-1])
    return a @ transpose(transpose(np.asarray(x, np.float64)) @ a @ np.linalg.inv(gram))


def vq_bases(x, bases, num_steps, inverse_temperature=100):
    x, a = np.asarray(x, np.float64), l2_normalize(np.asarray(bases, np.float64), axis=1)
    x_hat = l2_normalize(x, axis=1)
    for _ in range(num_steps):
        c = softmax(inverse_temperature * transpose(x_hat) @ l2_normalize(a, axis=1))
        a = x @ (c / (1e-6 + c.sum(1, keepdims=True)))
    return a


def vq(x, bases, num_steps):
    x, a = np.asarray(x, np.float64), vq_bases(x, bases, num_steps)
    x_hat = x / (1e-6 + np.linalg.norm(x, axis=1, keepdims=True))
    return a @ transpose(softmax(100 * transpose(x_hat) @ l2_normalize(a, axis=1)))


DECOMPOSITIONS = {"nmf": nmf, "cd": cd, "vq": vq}


def spectral_norm(matrix, u):
    w, u = np.asarray(matrix, np.float64), np.asarray(u, np.float64)
    v = l2_normalize(w.T @ u, axis=0)
    new_u = l2_normalize(w @ v, axis=0)
    return (new_u.T @ w @ v).item(), new_u, v


def batch_norm(x, gamma, beta, mean=None, variance=None):
    x = np.asarray(x, np.float64)
    if mean is None:
        mean = x.mean((0, 1, 2))
        variance = (x**2).mean((0, 1, 2)) - mean**2
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
