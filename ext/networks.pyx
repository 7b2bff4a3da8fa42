# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What small neural networks read, and what they add to predictions; predictd.kernels checks what comes in."""


from libc.stddef cimport ptrdiff_t


cdef extern from "networks_core.h" nogil:
    const int PREDICTD_UNITS

    ctypedef struct predictd_networks:
        size_t n_networks, n_rows
        const float *first
        const float *first_bias
        const float *second
        const float *second_bias
        const float *last
        const float *last_bias

    void predictd_apply_networks(predictd_networks networks, const float *weights, const float *inputs, size_t n,
                                 size_t k, float *out)
    void predictd_perceptron_gradient(const float *parameters, size_t k, const float *inputs, const float *targets,
                                      const ptrdiff_t *rows, size_t n, float penalty, float *gradient)
    void predictd_compress(float *values, size_t n)


UNITS = PREDICTD_UNITS


def apply(
    const float[:, :, ::1] first not None,
    const float[:, ::1] first_bias not None,
    const float[:, :, ::1] second not None,
    const float[:, ::1] second_bias not None,
    const float[:, ::1] last not None,
    const float[::1] last_bias not None,
    const float[::1] weights not None,
    const float[:, ::1] inputs not None,
    float[::1] out not None,
):
    """Write to `out` the weighted sum of what the networks give at each row of `inputs`."""
    cdef predictd_networks networks
    networks.n_networks, networks.n_rows = first.shape[0], first.shape[1]
    networks.first, networks.first_bias = &first[0, 0, 0], &first_bias[0, 0]
    networks.second, networks.second_bias = &second[0, 0, 0], &second_bias[0, 0]
    networks.last, networks.last_bias = &last[0, 0], &last_bias[0]
    with nogil:
        predictd_apply_networks(networks, &weights[0], &inputs[0, 0], inputs.shape[0], inputs.shape[1], &out[0])


def gradient(
    const float[::1] parameters not None,
    const float[:, ::1] inputs not None,
    const float[::1] targets not None,
    const ptrdiff_t[::1] rows not None,
    float penalty,
    float[::1] out not None,
):
    """Write to `out` how a perceptron's error over some rows of `inputs` changes along its parameters."""
    with nogil:
        predictd_perceptron_gradient(
            &parameters[0], inputs.shape[1], &inputs[0, 0], &targets[0], &rows[0], rows.shape[0], penalty, &out[0]
        )


def compress(float[::1] values not None):
    """Replace values by sign(value) · log(1 + |value|)."""
    with nogil:
        predictd_compress(&values[0], values.shape[0])
