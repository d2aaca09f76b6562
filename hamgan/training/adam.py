"""Adam with a fused update."""

import keras
import tensorflow as tf


class FusedAdam(keras.optimizers.Adam):
    """``keras.optimizers.Adam`` with TensorFlow's fused kernel: the same results and slots, without temporaries.

    Keras composes each update from about ten operations, each of which reads and writes an array of the variable's
    size.

    Reference: Kingma and Ba, Adam: A Method for Stochastic Optimization (ICLR 2015), section 2, last paragraph.
    """

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Updates one variable and its slots."""
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value

        dtype = variable.dtype
        # tf.cast would first convert a Python float to float32.
        beta_1, beta_2, epsilon = (tf.constant(value, dtype) for value in (self.beta_1, self.beta_2, self.epsilon))
        steps = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.handle,
            v=velocity.handle,
            beta1_power=beta_1**steps,
            beta2_power=beta_2**steps,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=tf.cast(gradient, dtype),
        )
