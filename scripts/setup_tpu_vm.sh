#!/usr/bin/env bash
# On a TPU VM: makes .venv with hamgan and TensorFlow for TPUs. There, tensorflow-tpu takes the place of tensorflow, which
# must not be installed beside it; it is one minor version behind, and what depends on TensorFlow follows it.
#
#   scripts/setup_tpu_vm.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
TENSORFLOW_TPU=2.20.0
LIBTPU=0.0.14 # later ones lack what TensorFlow 2.20 looks for in it

python="$(find_python)"
workplace="$(mktemp -d)"
trap 'rm -rf "$workplace"' EXIT
"$python" -m venv --clear .venv
.venv/bin/python -m pip install --quiet uv
# Whatever asks for tensorflow is not given it: tensorflow-tpu is there.
cat > "$workplace/overrides.txt" << END
tensorflow ; python_version < '3'
tf-keras==${TENSORFLOW_TPU%.*}.*
tensorboard==${TENSORFLOW_TPU%.*}.*
END
grep -vE '^(tensorflow|tf-keras|tensorboard|jax|jaxlib|libtpu)==' constraints.txt > "$workplace/constraints.txt"
echo "Installing hamgan with tensorflow-tpu $TENSORFLOW_TPU"
.venv/bin/uv pip install --quiet --python .venv/bin/python --override "$workplace/overrides.txt" \
  --constraint "$workplace/constraints.txt" --editable . "tensorflow-tpu==$TENSORFLOW_TPU" "libtpu==$LIBTPU"
.venv/bin/python - << 'END'
from hamgan.program import import_tensorflow_quietly

import_tensorflow_quietly()
import tensorflow as tf

print(f"TensorFlow {tf.__version__}; this machine has {len(tf.config.list_physical_devices('TPU'))} TPU cores")
END
